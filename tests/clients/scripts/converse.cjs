// The client's side of `conversation.py` for npm packages: calls them as it is told to, line by line.
'use strict'

const readline = require('node:readline')
const path = require('node:path')

console.log = console.error // what packages print must not mix with our lines

const modules = path.join(__dirname, '..', 'node_modules')
const kept = {}
const heard = {}

// `alpaca4:trading.AccountsApi` → what the package exports under that name.
const exported = (name) => {
  const [module, steps] = name.split(':')
  return (steps ? steps.split('.') : []).reduce((found, step) => found[step], require(path.join(modules, module)))
}

// `{"kept": name}` is something kept, `{"date": text}` a date, `{"routes": {from: to}}` a fetch with another base.
const revived = (key, value) => {
  if (value === null || typeof value !== 'object' || Object.keys(value).length !== 1) return value
  if ('kept' in value) return kept[value.kept]
  if ('date' in value) return new Date(value.date)
  if ('routes' in value) {
    return (url, init) =>
      fetch(Object.entries(value.routes).reduce((text, [from, to]) => text.replace(from, to), String(url)), init)
  }
  return value
}

const deeds = {
  make: ({ on, arguments: args }) => {
    const [name, ...rest] = typeof args[0] === 'string' && /^[a-z0-9-]+:/.test(args[0]) ? args : ['questrade', ...args]
    kept[on] = new (exported(name.replace(/:$/, '')))(...rest)
  },
  assign: ({ name, value }) => {
    if (!(name in kept.client)) throw new Error(`the client has no ${name}`)
    kept.client[name] = value
  },
  call: async ({ on, method, arguments: args }) => {
    const steps = method.split('.')
    const last = steps.pop()
    const owner = steps.reduce((found, step) => found[step], kept[on])
    const value = typeof owner[last] === 'function' ? await owner[last](...args) : owner[last]
    return value && typeof value[Symbol.asyncIterator] === 'function' ? Array.fromAsync(value) : value
  },
  keep: async ({ name, on, method, arguments: args, path: steps }) => {
    let result = await kept[on][method](...args)
    for (const step of steps) result = result[step]
    if (result === undefined) throw new Error(`${method} has nothing at ${steps}`)
    kept[name] = result
  },
  methods: ({ of }) => {
    const own = of.includes(':') ? {} : kept[of]
    const prototype = of.includes(':') ? exported(of).prototype : Object.getPrototypeOf(own)
    const functions = Object.keys(own).filter((name) => typeof own[name] === 'function')
    return [...functions, ...Object.getOwnPropertyNames(prototype)].filter((name) => name !== 'constructor')
  },
  // Opens a socket of the package (`client.data_stream_v2`). What it hears is kept, by event, until `heard` asks for it.
  listen: ({ on, events, subscribe }) => {
    const [name, part] = on.split('.')
    const socket = kept[name][part]
    const found = Object.fromEntries(events.map((event) => [event, []]))
    for (const event of events) socket[event]((message) => found[event].push(message))
    found.onError = []
    socket.onError((error) => found.onError.push(String(error)))
    found.onConnect = []
    socket.onConnect(() => {
      found.onConnect.push(true)
      for (const [method, ...args] of subscribe) socket[method](...args)
    })
    heard[on] = found
    socket.connect()
  },
  heard: async ({ on, event, count, seconds }) => {
    const end = Date.now() + seconds * 1000
    while (heard[on][event].length < count && Date.now() < end) await new Promise((done) => setTimeout(done, 10))
    return heard[on][event]
  },
  exports: ({ of }) => Object.keys(exported(of)),
  loop: async ({ calls, seconds }) => {
    const failures = []
    let made = 0
    const end = Date.now() + seconds * 1000
    while (Date.now() < end) {
      for (const [name, args] of calls) {
        const [on, method] = name.split('.')
        made += 1
        try {
          const result = await kept[on][method](...args)
          // The package looks at no status: an error is handed out as if it were data.
          if (result === undefined || 'code' in result) failures.push(`${name}: ${JSON.stringify(result)}`)
        } catch (error) {
          failures.push(`${name}: ${error}`)
        }
      }
    }
    return [made, failures]
  },
}

// Accounts and symbols hold the client that made them.
const plain = (key, value) => {
  if (value instanceof Map) return Object.fromEntries(value)
  return key === 'api' ? undefined : typeof value === 'bigint' ? Number(value) : value
}

const answerTo = async ({ do: deed, ...question }) => {
  try {
    const result = await deeds[deed](question)
    return { result: result === undefined ? null : result }
  } catch (error) {
    const body = error.receivedText ?? error.response?.data ?? error.body
    const answer = body === undefined || typeof body === 'string' ? body : JSON.stringify(body, plain)
    return { failed: { kind: error?.constructor?.name ?? typeof error, text: String(error?.message ?? error), answer } }
  }
}

const main = async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answerTo(JSON.parse(line, revived)), plain)}\n`)
  }
  if (Object.keys(heard).length) process.exit(0) // open sockets would keep us here
}

main()
