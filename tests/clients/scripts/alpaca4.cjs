// The package @alpacahq/alpaca-trade-api is the one that is installed as alpaca4.
'use strict'

const Module = require('node:module')

const find = Module._resolveFilename
Module._resolveFilename = (name, ...rest) => find(name === '@alpacahq/alpaca-trade-api' ? 'alpaca4' : name, ...rest)
