"""What to write so that a program calls a mount: one table, for the console's page, `docs/clients.md` and the tests.

Each snippet is a whole program that reads its client key from the environment. In it `@URL@` stands for the mount's
address, `@ROOT@` for that of its own port, `@PATH@` for a call that the mount allows, and `@MOUNT@` for its name.
"""

from dataclasses import dataclass

QUESTRADE, TRADIER = (("questrade", "main"),), (("tradier", "rest"),)
TRADING, DATA, BROKER = (("alpaca", "trading"),), (("alpaca", "data"),), (("alpaca", "broker"),)


@dataclass(frozen=True, slots=True)
class Snippet:
    """A program. `client` is the library, as it is installed, or what the language has itself.

    `serves` are broker and API; empty: all. `before` is a command that comes first, in a shell. `under` says that the
    program needs the variables of `bearerd run`. `root`: the library drops a path, the mount needs a port of its own.
    """

    language: str
    client: str
    code: str
    serves: tuple[tuple[str, str], ...] = ()
    install: str = ""
    before: str = ""
    note: str = ""
    under: bool = False
    root: bool = False


UNTRIED = "Written from its documentation; not run by bearerd's tests."
_RUN = "It finds address and key in the variables that `bearerd run` sets: bearerd run --client NAME -- "

PYTHON = (
    Snippet("Python", "questrade-api 1.0.3", """\
from questrade_api import Questrade

questrade = Questrade(token_path="questrade.json")
print(questrade.accounts)
""", QUESTRADE, "pip install questrade-api", "bearerd env @MOUNT@ --format questrade_api --output questrade.json"),
    Snippet("Python", "qtrade 0.6.1", """\
from qtrade import Questrade

questrade = Questrade(token_yaml="access_token.yml")
print(questrade.get_account_id())
""", QUESTRADE, "pip install qtrade", "bearerd env @MOUNT@ --format qtrade --output access_token.yml",
    "Its `submit_order` posts each order twice, by itself."),
    Snippet("Python", "kwess 0.2.8", """\
import os

from kwess import Trader

key = os.environ["BEARERD_KEY"]
trader = Trader(store_tokens=False, token=key, api_server="@URL@")
print(list(trader.get_accounts()))
""", QUESTRADE, "pip install kwess",
    note="If its first call fails, it sends the key to Questrade as a refresh token, where it is of no use."),
    Snippet("Python", "qt-api 0.2.5", """\
from qt_api.qt import Questrade

questrade = Questrade(acct_flag="local")
print(questrade.get_account())
""", QUESTRADE, "pip install qt-api", "bearerd env @MOUNT@ --format qt-api --output ~/.qt_api/creds_local.yaml"),
    Snippet("Python", "iqtrade 0.0.5", """\
import os

import requests
from iqtrade.api import QuestradeIQ

ask = requests.get
there, here = "https://login.questrade.com", "@URL@"
requests.get = lambda url, **more: ask(url.replace(there, here), **more)
questrade = QuestradeIQ({"iq_refresh_token": os.environ["BEARERD_KEY"]}, save_config=False)
print(questrade.get_accounts())
""", QUESTRADE, "pip install iqtrade", note="Its token address is fixed, hence the lines about `requests`."),
    Snippet("Python", "lumiwealth-tradier 0.1.18", """\
import os

import lumiwealth_tradier.base
from lumiwealth_tradier import Tradier

lumiwealth_tradier.base.TRADIER_LIVE_URL = "@URL@"
tradier = Tradier("VA000001", os.environ["BEARERD_KEY"], is_paper=False)
print(tradier.account.get_user_profile())
""", TRADIER, "pip install lumiwealth-tradier", note="lumibot uses it: the line with the address goes first."),
    Snippet("Python", "tradier-api-client 0.10.0", """\
import os

from tradier_api_client import RestClient

key = os.environ["BEARERD_KEY"]
tradier = RestClient(base_url="@URL@/v1", api_key=key, account_number="VA000001")
print(tradier.get_user_profile())
""", TRADIER, "pip install tradier-api-client"),
    Snippet("Python", "uvatradier 0.4.7", """\
import os

from uvatradier import Account

account = Account("VA000001", os.environ["BEARERD_KEY"], live_trade=True)
account.BASE_URL = "@URL@"
print(account.get_user_profile())
""", TRADIER, "pip install uvatradier", note="Each of its objects has a `BASE_URL` of its own."),
    Snippet("Python", "aiotradier 0.0.9", """\
import asyncio
import os

import aiohttp
from aiotradier import TradierAPIAdapter


async def main():
    async with aiohttp.ClientSession() as session:
        tradier = TradierAPIAdapter(session, token=os.environ["BEARERD_KEY"], sandbox=False)
        tradier.url = "@URL@"
        print(await tradier.api_get_user_profile())


asyncio.run(main())
""", TRADIER, "pip install aiotradier"),
    Snippet("Python", "tradier-python 0.1.3", """\
import os

from tradier_python import TradierAPI

key = os.environ["BEARERD_KEY"]
tradier = TradierAPI(token=key, default_account_id="VA000001", endpoint="@ROOT@/")
print(tradier.get_profile())
""", TRADIER, "pip install tradier-python", root=True),
    Snippet("Python", "alpaca-py 0.44.0", """\
import os

from alpaca.trading.client import TradingClient

alpaca = TradingClient("local", os.environ["BEARERD_KEY"], url_override="@URL@")
print(alpaca.get_account())
""", TRADING, "pip install alpaca-py"),
    Snippet("Python", "alpaca-py 0.44.0", """\
import os

from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import StockLatestQuoteRequest

key = os.environ["BEARERD_KEY"]
data = StockHistoricalDataClient("local", key, url_override="@URL@")
print(data.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="AAPL")))
""", DATA, "pip install alpaca-py"),
    Snippet("Python", "alpaca-py 0.44.0", """\
import os

from alpaca.broker.client import BrokerClient

broker = BrokerClient("local", os.environ["BEARERD_KEY"], url_override="@URL@")
print(broker.list_accounts())
""", BROKER, "pip install alpaca-py"),
    Snippet("Python", "alpaca-trade-api 3.2.0", """\
import alpaca_trade_api

alpaca = alpaca_trade_api.REST()
print(alpaca.get_account())
""", TRADING, "pip install alpaca-trade-api", note=f"{_RUN}python bot.py", under=True),
)  # fmt: skip

NODE = (
    Snippet("Node.js", "questrade 2.1.0", """\
const Questrade = require('questrade')

const main = async () => {
  const questrade = new Questrade(process.env.BEARERD_KEY)
  questrade.authUrl = '@URL@'
  await questrade.connect()
  console.log(await questrade.getAccounts())
}
main()
""", QUESTRADE, "npm install questrade"),
    Snippet("Node.js", "tradier-client 1.0.1", """\
const Tradier = require('tradier-client')

const tradier = new Tradier(process.env.BEARERD_KEY)
tradier._host = '@URL@/v1/'
tradier._hostBeta = '@URL@/beta/'
tradier.quote('AAPL').then((quote) => console.log(quote))
""", TRADIER, "npm install tradier-client"),
    Snippet("Node.js", "@alpacahq/alpaca-trade-api 4.0.2", """\
const { trading } = require('@alpacahq/alpaca-trade-api')

const secret = process.env.BEARERD_KEY
const settings = { basePath: '@URL@', keyId: 'local', secret }
const accounts = new trading.AccountsApi(new trading.Configuration(settings))
accounts.getAccount().then((account) => console.log(account))
""", TRADING, "npm install @alpacahq/alpaca-trade-api"),
    Snippet("Node.js", "@alpacahq/alpaca-trade-api 3.1.3", """\
const Alpaca = require('@alpacahq/alpaca-trade-api')

const alpaca = new Alpaca()
alpaca.getAccount().then((account) => console.log(account))
""", TRADING, "npm install @alpacahq/alpaca-trade-api@3", note=f"{_RUN}node bot.js", under=True),
)  # fmt: skip

OTHERS = (
    Snippet("Go", "alpaca-trade-api-go", """\
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/alpacahq/alpaca-trade-api-go/v3/alpaca"
)

func main() {
	key := os.Getenv("BEARERD_KEY")
	client := alpaca.NewClient(alpaca.ClientOpts{BaseURL: "@URL@", OAuth: key})
	account, err := client.GetAccount()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(account.AccountNumber)
}
""", TRADING, "go get github.com/alpacahq/alpaca-trade-api-go/v3", note=UNTRIED),
    Snippet("Go", "go-tradier", """\
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/timpalpant/go-tradier"
)

func main() {
	params := tradier.DefaultParams(os.Getenv("BEARERD_KEY"))
	params.Endpoint = "@URL@"
	dates, err := tradier.NewClient(params).GetOptionExpirationDates("AAPL")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(dates)
}
""", TRADIER, "go get github.com/timpalpant/go-tradier", note=UNTRIED),
    Snippet("C#", "Alpaca.Markets", """\
using Alpaca.Markets;

var local = new Local(new Uri("@ROOT@"));
var key = new SecretKey("local", Environment.GetEnvironmentVariable("BEARERD_KEY")!);
var client = local.GetAlpacaTradingClient(key);
Console.WriteLine((await client.GetAccountAsync()).AccountNumber);

sealed class Local(Uri mount) : IEnvironment
{
    public Uri AlpacaTradingApi => mount;
    public Uri AlpacaDataApi => mount;
    public Uri AlpacaStreamingApi => mount;
    public Uri AlpacaDataStreamingApi => mount;
    public Uri AlpacaCryptoStreamingApi => mount;
    public Uri AlpacaOptionsStreamingApi => mount;
    public Uri AlpacaNewsStreamingApi => mount;
}
""", TRADING, "dotnet add package Alpaca.Markets", note=UNTRIED, root=True),
)  # fmt: skip
