"""The same for what languages have themselves, or what everybody uses there: any broker, any call."""

from proxy.console.sdks import UNTRIED, Snippet

GENERIC = (
    Snippet("curl", "curl", """\
curl -sS -H "Authorization: Bearer $BEARERD_KEY" -H "Accept: application/json" \\
  "@URL@@PATH@"
"""),
    Snippet("Python", "requests", """\
import os

import requests

session = requests.Session()
session.headers["Authorization"] = f"Bearer {os.environ['BEARERD_KEY']}"
session.headers["Accept"] = "application/json"
answer = session.get("@URL@@PATH@", timeout=30)
answer.raise_for_status()
print(answer.json())
""", install="pip install requests"),
    Snippet("Python", "httpx", """\
import os

import httpx

headers = {"Authorization": f"Bearer {os.environ['BEARERD_KEY']}", "Accept": "application/json"}
with httpx.Client(base_url="@URL@", headers=headers, timeout=30) as client:
    answer = client.get("@PATH@")
    answer.raise_for_status()
    print(answer.json())
""", install="pip install httpx"),
    Snippet("Python", "aiohttp", """\
import asyncio
import os

import aiohttp

HEADERS = {"Authorization": f"Bearer {os.environ['BEARERD_KEY']}", "Accept": "application/json"}


async def main():
    async with aiohttp.ClientSession(headers=HEADERS, raise_for_status=True) as session:
        async with session.get("@URL@@PATH@") as answer:
            print(await answer.json())


asyncio.run(main())
""", install="pip install aiohttp"),
    Snippet("Python", "urllib", """\
import json
import os
import urllib.request

headers = {"Authorization": f"Bearer {os.environ['BEARERD_KEY']}", "Accept": "application/json"}
request = urllib.request.Request("@URL@@PATH@", headers=headers)
with urllib.request.urlopen(request, timeout=30) as answer:
    print(json.load(answer))
"""),
    Snippet("Node.js", "fetch", """\
const headers = { Authorization: `Bearer ${process.env.BEARERD_KEY}`, Accept: 'application/json' }

const main = async () => {
  const answer = await fetch('@URL@@PATH@', { headers })
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`)
  console.log(JSON.stringify(await answer.json()))
}
main()
"""),
    Snippet("Go", "net/http", """\
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	request, err := http.NewRequest("GET", "@URL@@PATH@", nil)
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("BEARERD_KEY"))
	request.Header.Set("Accept", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != 200 {
		log.Fatal(answer.Status, string(body), err)
	}
	fmt.Println(string(body))
}
"""),
    Snippet("Java", "java.net.http", """\
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

public class Bot {
    public static void main(String[] arguments) throws Exception {
        var request = HttpRequest.newBuilder(URI.create("@URL@@PATH@"))
            .header("Authorization", "Bearer " + System.getenv("BEARERD_KEY"))
            .header("Accept", "application/json")
            .build();
        var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        var answer = client.send(request, BodyHandlers.ofString());
        if (answer.statusCode() != 200) throw new Exception(answer.statusCode() + " " + answer.body());
        System.out.println(answer.body());
    }
}
"""),
    Snippet("C#", "HttpClient", """\
using System.Net.Http.Headers;

var client = new HttpClient { BaseAddress = new Uri("@URL@/") };
var key = Environment.GetEnvironmentVariable("BEARERD_KEY");
client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
client.DefaultRequestHeaders.Accept.ParseAdd("application/json");
Console.WriteLine(await client.GetStringAsync("@PATH@".TrimStart('/')));
""", note=f"The base address ends in a slash, and the path begins with none. {UNTRIED}"),
    Snippet("R", "httr2", """\
library(httr2)

answer <- request("@URL@") |>
  req_url_path_append("@BARE@") |>
  req_auth_bearer_token(Sys.getenv("BEARERD_KEY")) |>
  req_headers(Accept = "application/json") |>
  req_perform()
print(resp_body_json(answer))
""", install='install.packages("httr2")', note=UNTRIED),
)  # fmt: skip
# What a client of a Unix socket writes. No library of the other tables takes one.
SOCKET = Snippet("curl", "curl", """\
curl -sS -H "Authorization: Bearer $BEARERD_KEY" -H "Accept: application/json" \\
  --unix-socket "@SOCKET@" "http://localhost/@MOUNT@@PATH@"
""")  # fmt: skip
# Of each API a scope, and a call that needs just that and no other argument than is written.
CALLS = {
    ("questrade", "main"): (("read_acc", "/v1/accounts"), ("read_md", "/v1/markets/quotes?ids=8049")),
    ("tradier", "rest"): (("read", "/v1/user/profile"), ("market", "/v1/markets/quotes?symbols=AAPL")),
    ("alpaca", "trading"): (("account:read", "/v2/account"),),
    ("alpaca", "data"): (("data", "/v2/stocks/quotes/latest?symbols=AAPL"),),
    ("alpaca", "broker"): (("broker:accounts.read", "/v1/accounts"), ("broker:reference.read", "/v1/assets")),
}
