// The client's side of `conversation.py` for the npm package `questrade`: calls it as it is told to, line by line.
'use strict'

const readline = require('node:readline')
const path = require('node:path')

const Questrade = require(path.join(__dirname, '..', 'node_modules', 'questrade'))
const kept = {}

const deeds = {
  make: ({ arguments: args }) => {
    kept.client = new Questrade(...args)
  },
  assign: ({ name, value }) => {
    if (!(name in kept.client)) throw new Error(`the client has no ${name}`)
    kept.client[name] = value
  },
  call: async ({ on, method, arguments: args }) => {
    const value = kept[on][method]
    return typeof value === 'function' ? kept[on][method](...args) : value
  },
  keep: async ({ name, on, method, arguments: args, path: steps }) => {
    let result = await kept[on][method](...args)
    for (const step of steps) result = result[step]
    if (result === undefined) throw new Error(`${method} has nothing at ${steps}`)
    kept[name] = result
  },
  methods: ({ of }) =>
    Object.getOwnPropertyNames(Object.getPrototypeOf(kept[of])).filter((name) => name !== 'constructor'),
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
const plain = (key, value) => (key === 'api' ? undefined : value)

const answerTo = async ({ do: deed, ...question }) => {
  try {
    const result = await deeds[deed](question)
    return { result: result === undefined ? null : result }
  } catch (error) {
    return { failed: { kind: error.constructor.name, text: error.message, answer: error.receivedText } }
  }
}

const main = async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answerTo(JSON.parse(line)), plain)}\n`)
  }
}

main()
