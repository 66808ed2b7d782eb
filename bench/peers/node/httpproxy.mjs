// http-proxy with a keep-alive agent. Arguments: port, address of the broker, file of the authority. The bearer:
// $BENCH_TOKEN.
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import httpProxy from "http-proxy";

const [port, target, caFile] = process.argv.slice(2);
const agent = new https.Agent({ keepAlive: true, maxSockets: 64, ca: readFileSync(caFile), servername: "localhost" });
const proxy = httpProxy.createProxyServer({
  target, agent, secure: true, headers: { authorization: `Bearer ${process.env.BENCH_TOKEN}`, host: "localhost" },
});
proxy.on("error", (_error, _request, answer) => answer.writeHead(502).end());
http.createServer((request, answer) => proxy.web(request, answer)).listen(Number(port), "127.0.0.1");
