// @fastify/http-proxy with undici. Arguments: port, address of the broker, file of the authority. The bearer: $BENCH_TOKEN.
import { readFileSync } from "node:fs";
import proxy from "@fastify/http-proxy";
import fastify from "fastify";

const [port, upstream, caFile] = process.argv.slice(2);
const bearer = `Bearer ${process.env.BENCH_TOKEN}`;
const server = fastify({ logger: false });
server.register(proxy, {
  upstream,
  undici: { connections: 64, pipelining: 1, connect: { ca: readFileSync(caFile), servername: "localhost" } },
  replyOptions: { rewriteRequestHeaders: (_request, headers) => ({ ...headers, authorization: bearer, host: "localhost" }) },
});
await server.listen({ host: "127.0.0.1", port: Number(port) });
