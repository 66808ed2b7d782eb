// A program of a person's own: every stream of the npm package, side by side. Nothing of ours is here.
//
// `stream_alpaca4.cjs WS KEY WRONG OPTION`: WS is bearerd's address, `ws://…`. Tells on stdout, line by line, what each
// of them hears, as `[stream, channel, what]`.
'use strict'

const path = require('node:path')
const { Alpaca } = require(path.join(__dirname, '..', 'node_modules', 'alpaca4'))

const [, , url, key, wrong, option] = process.argv
const tell = (stream, channel, what) => process.stdout.write(`${JSON.stringify([stream, channel, what])}\n`)

const alpaca = new Alpaca({ keyId: 'local', secret: key })
const stocks = alpaca.marketData.stockStream({ url: `${url}/alpaca-stream/v2/iex` })
stocks.onTrade((trade) => tell('stocks', 'trades', trade.id))
stocks.onQuote((quote) => tell('stocks', 'quotes', quote.bidSize))
stocks.onBar((bar) => tell('stocks', 'bars', bar.volume))
stocks.onConnect(() => {
  stocks.subscribeForTrades(['AAPL'])
  stocks.subscribeForQuotes(['AAPL'])
  stocks.subscribeForBars(['AAPL'])
})

const crypto = alpaca.marketData.cryptoStream({ url: `${url}/alpaca-stream/v1beta3/crypto/us` })
crypto.onTrade((trade) => tell('crypto', 'trades', trade.id))
crypto.onOrderbook((book) => tell('crypto', 'orderbooks', book.bids[0].size))
crypto.onConnect(() => {
  crypto.subscribeForTrades(['BTC/USD'])
  crypto.subscribeForOrderbooks(['BTC/USD'])
})

const options = alpaca.marketData.optionStream({ url: `${url}/alpaca-stream/v1beta1/indicative` })
options.onTrade((trade) => tell('options', 'trades', trade.size))
options.onConnect(() => options.subscribeForTrades([option]))

const news = alpaca.marketData.newsStream({ url: `${url}/alpaca-stream/v1beta1/news` })
news.onNews((article) => tell('news', 'news', article.id))
news.onConnect(() => news.subscribeForNews(['*']))

const orders = alpaca.trading.stream({ url: `${url}/alpaca/stream` })
orders.onTradeUpdate((update) => tell('orders', 'orders', `${update.event} ${update.order.clientOrderId}`))
orders.onConnect(() => orders.subscribeTradeUpdates())

const stranger = new Alpaca({ keyId: 'local', secret: wrong })
const noData = stranger.marketData.stockStream({ url: `${url}/alpaca-stream/v2/iex` })
const noOrders = stranger.trading.stream({ url: `${url}/alpaca/stream` })

const streams = { stocks, crypto, options, news, orders, 'stocks, wrong key': noData, 'orders, wrong key': noOrders }
for (const [name, stream] of Object.entries(streams)) {
  stream.onError((message) => tell(name, 'log', message))
  stream.onStateChange((state) => tell(name, 'log', state))
  stream.whenAuthenticated().then((result) => tell(name, 'log', `${result.status} ${result.code ?? ''}`))
  stream.connect()
}
