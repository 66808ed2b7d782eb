// What a web page can do to make its browser call somebody. Each way has a name, and the call carries it: ?case=NAME.
// `run` answers with what the page could read, by name.

const SETTLE = 1500;  // milliseconds for calls that tell their page nothing

function limited(promise) {
  return Promise.race([promise, new Promise(done => setTimeout(() => done("(silence)"), SETTLE))])
    .catch(error => `(${error.name})`);
}

async function text(promise) {
  const answer = await promise;
  return `${answer.type} ${answer.status} ${[...answer.headers.keys()].join(",")} ${await answer.text()}`;
}

function tag(name, attributes, parent = document.body) {
  return new Promise(done => {
    const made = Object.assign(document.createElement(name), {onload: () => done("load"), onerror: () => done("error")});
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    parent.append(made);
  });
}

function form(at, action, method, enctype, target = "") {
  const frame = Object.assign(document.createElement("iframe"), {name: `f${Math.random()}`});
  const made = Object.assign(document.createElement("form"), {action, method, enctype, target: target || frame.name});
  made.innerHTML = `<input name='{"symbolId": 1, "a' value='"}'><input name=case value=${at}>`;
  document.body.append(frame, made);
  made.submit();
  return new Promise(() => null);
}

function heard(source, ...events) {
  return new Promise(done => events.forEach(event => source.addEventListener(event, () => done(event))));
}

function framed(html, sandbox) {
  const frame = document.createElement("iframe");
  if (sandbox !== null) frame.setAttribute("sandbox", sandbox);
  frame.srcdoc = html;
  document.body.append(frame);
  return new Promise(() => null);
}

function cases(read, order, away) {
  const order_of = name => `${order}?case=${name}`, read_of = name => `${read}?case=${name}`;
  const socket_of = name => read_of(name).replace("http", "ws").replace("/accounts", "/events");  // is a socket here
  const script = code => URL.createObjectURL(new Blob([code], {type: "text/javascript"}));
  const json = {"Content-Type": "application/json"};
  return {
    "fetch-get": at => text(fetch(read_of(at))),
    "fetch-credentials": at => text(fetch(read_of(at), {credentials: "include"})),
    "fetch-no-cors": at => text(fetch(read_of(at), {mode: "no-cors"})),
    "fetch-no-cors-credentials": at => text(fetch(read_of(at), {mode: "no-cors", credentials: "include"})),
    "fetch-same-origin": at => text(fetch(read_of(at), {mode: "same-origin"})),
    "fetch-no-referrer": at => text(fetch(read_of(at), {mode: "no-cors", referrerPolicy: "no-referrer"})),
    "fetch-keepalive": at => text(fetch(order_of(at), {method: "POST", mode: "no-cors", keepalive: true, body: "{}"})),
    "fetch-reload": at => text(fetch(read_of(at), {mode: "no-cors", cache: "reload"})),
    "fetch-range": at => text(fetch(read_of(at), {headers: {Range: "bytes=0-9"}})),
    "fetch-head": at => text(fetch(read_of(at), {method: "HEAD"})),
    "fetch-head-no-cors": at => text(fetch(read_of(at), {method: "HEAD", mode: "no-cors"})),
    "fetch-post-text": at => text(fetch(order_of(at), {method: "POST", body: "{}"})),
    "fetch-post-no-cors": at => text(fetch(order_of(at), {method: "POST", mode: "no-cors", body: '{"symbolId": 1}'})),
    "fetch-post-empty": at => text(fetch(order_of(at), {method: "POST", mode: "no-cors"})),
    "fetch-post-form": at => text(fetch(order_of(at), {method: "POST", mode: "no-cors", body: new URLSearchParams("a=b")})),
    "fetch-post-multipart": at => text(fetch(order_of(at), {method: "POST", mode: "no-cors", body: new FormData()})),
    "fetch-post-blob": at => text(fetch(order_of(at), {method: "POST", mode: "no-cors", body: new Blob(["{}"])})),
    "fetch-post-json": at => text(fetch(order_of(at), {method: "POST", headers: json, body: "{}"})),
    "fetch-put": at => text(fetch(order_of(at), {method: "PUT", body: "{}"})),
    "fetch-delete": at => text(fetch(order_of(at), {method: "DELETE"})),
    "fetch-patch": at => text(fetch(order_of(at), {method: "PATCH", body: "{}"})),
    "fetch-options": at => text(fetch(order_of(at), {method: "OPTIONS"})),
    "fetch-authorization": at => text(fetch(read_of(at), {headers: {Authorization: "Bearer brd_x"}})),
    "fetch-key": at => text(fetch(read_of(at), {headers: {"X-Api-Key": "brd_x"}})),
    "fetch-override": at => text(fetch(order_of(at), {method: "POST", headers: {"X-HTTP-Method-Override": "DELETE"}})),
    "xhr-get": at => new Promise(done => {
      const call = new XMLHttpRequest();
      call.onloadend = () => done(`${call.status} ${call.responseText}`);
      call.open("GET", read_of(at)); call.send();
    }),
    "xhr-post-credentials": at => new Promise(done => {
      const call = new XMLHttpRequest();
      call.onloadend = () => done(`${call.status} ${call.responseText}`);
      call.open("POST", order_of(at)); call.withCredentials = true; call.send("{}");
    }),
    "beacon-text": at => String(navigator.sendBeacon(order_of(at), "{}")),
    "beacon-form": at => String(navigator.sendBeacon(order_of(at), new URLSearchParams("a=b"))),
    "beacon-json": at => String(navigator.sendBeacon(order_of(at), new Blob(["{}"], {type: "application/json"}))),
    "event-source": at => heard(new EventSource(read_of(at)), "open", "error"),
    "event-source-credentials": at => heard(new EventSource(read_of(at), {withCredentials: true}), "open", "error"),
    "web-socket": at => heard(new WebSocket(read_of(at).replace("http", "ws")), "open", "error"),
    "web-socket-protocol": at => heard(new WebSocket(read_of(at).replace("http", "ws"), ["v1"]), "open", "error"),
    "socket": at => heard(new WebSocket(socket_of(at)), "open", "error"),
    "socket-protocol": at => heard(new WebSocket(socket_of(at), ["v1"]), "open", "error"),
    "socket-worker": at => heard(new Worker(script(
      `const socket = new WebSocket("${socket_of(at)}");
       socket.onopen = () => postMessage("open"); socket.onerror = () => postMessage("error")`)), "message", "error"),
    "socket-sandbox": at => framed(`<script>new WebSocket("${socket_of(at)}")</script>`, "allow-scripts"),
    "socket-data": at => tag("iframe", {src: `data:text/html,<script>new WebSocket("${socket_of(at)}")</script>`}),
    "image": at => tag("img", {src: read_of(at)}),
    "image-cors": at => tag("img", {src: read_of(at), crossorigin: "use-credentials"}),
    "image-set": at => tag("img", {srcset: `${read_of(at)} 2x`}),
    "script": at => tag("script", {src: read_of(at)}),
    "script-module": at => tag("script", {src: read_of(at), type: "module"}),
    "style": at => tag("link", {rel: "stylesheet", href: read_of(at)}),
    "icon": at => tag("link", {rel: "icon", href: read_of(at)}, document.head),
    "prefetch": at => tag("link", {rel: "prefetch", href: read_of(at)}),
    "preload": at => tag("link", {rel: "preload", as: "fetch", href: read_of(at)}),
    "module-preload": at => tag("link", {rel: "modulepreload", href: read_of(at)}),
    "video": at => heard(Object.assign(document.createElement("video"), {src: read_of(at)}), "loadeddata", "error"),
    "audio": at => heard(new Audio(read_of(at)), "loadeddata", "error"),
    "object": at => tag("object", {data: read_of(at)}),
    "embed": at => tag("embed", {src: read_of(at)}),
    "frame": at => tag("iframe", {src: read_of(at)}),
    "frame-read": async at => {
      const frame = Object.assign(document.createElement("iframe"), {src: read_of(at)});
      document.body.append(frame);
      await heard(frame, "load");
      return frame.contentDocument ? frame.contentDocument.body.innerText : "(closed)";
    },
    "style-url": at => tag("div", {style: `background: url("${read_of(at)}"); width: 9px; height: 9px`}),
    "font": at => new FontFace("x", `url("${read_of(at)}")`).load().then(() => "load"),
    "import": at => import(read_of(at)).then(() => "load"),
    "worker": at => heard(new Worker(read_of(at)), "message", "error"),
    "worker-import": at => heard(new Worker(script(`importScripts("${read_of(at)}")`)), "message", "error"),
    "worker-fetch": at => heard(new Worker(script(
      `fetch("${order_of(at)}", {method: "POST", mode: "no-cors", body: "{}"})
        .then(() => postMessage(1), () => postMessage(0))`)), "message", "error"),
    "service-worker-of-ours": at => navigator.serviceWorker.register(read_of(at)).then(() => "registered"),
    "service-worker": async at => {
      await navigator.serviceWorker.register("/sw.js");
      await navigator.serviceWorker.ready;
      if (!navigator.serviceWorker.controller) await heard(navigator.serviceWorker, "controllerchange");
      return text(fetch(`/through?to=${encodeURIComponent(order_of(at))}`));
    },
    "form-get": at => form(at, read_of(at), "get", "application/x-www-form-urlencoded"),
    "form-post": at => form(at, order_of(at), "post", "application/x-www-form-urlencoded"),
    "form-multipart": at => form(at, order_of(at), "post", "multipart/form-data"),
    "form-text": at => form(at, order_of(at), "post", "text/plain"),
    "form-window": at => form(at, order_of(at), "post", "text/plain", "_blank"),
    "window": at => String(window.open(read_of(at), "_blank", "width=9") === null),
    "window-no-opener": at => String(window.open(read_of(at), "_blank", "noopener")),
    "ping": at => {
      const link = Object.assign(document.createElement("a"), {href: "#", ping: order_of(at)});
      document.body.append(link);
      link.click();
      return "clicked";
    },
    "download": at => {
      const frame = Object.assign(document.createElement("iframe"), {name: "download"});
      const link = Object.assign(document.createElement("a"), {href: read_of(at), download: "x", target: frame.name});
      document.body.append(frame, link);
      link.click();
      return "clicked";
    },
    "refresh": at => framed(`<meta http-equiv=refresh content='0;url=${read_of(at)}'>`, null),
    "sandbox-fetch": at => framed(`<script>fetch("${order_of(at)}", {method: "POST", mode: "no-cors", body: "{}"})</script>`,
      "allow-scripts"),
    "sandbox-form": at => framed(`<form id=f method=post enctype=text/plain action="${order_of(at)}"><input name=a></form>
      <script>f.submit()</script>`, "allow-scripts allow-forms"),
    "sandbox-frame": at => framed(`<iframe src="${read_of(at)}"></iframe>`, ""),
    "data-frame": at => tag("iframe", {src: `data:text/html,<script>fetch("${read_of(at)}", {mode: "no-cors"})</script>`}),
    "policy-report": at => tag("iframe", {src: `${away}/policy?to=${encodeURIComponent(order_of(at))}`}),
    "redirect-of-a-form": at => form(at, `${away}/307?to=${encodeURIComponent(order_of(at))}`, "post", "text/plain"),
    "redirect-302": at => text(fetch(`${away}/302?to=${encodeURIComponent(read_of(at))}`, {mode: "no-cors"})),
    "redirect-307-post": at => text(fetch(`${away}/307?to=${encodeURIComponent(order_of(at))}`,
      {method: "POST", mode: "no-cors", body: "{}"})),
    "redirect-308-cors": at => text(fetch(`${away}/308?to=${encodeURIComponent(order_of(at))}`, {method: "POST", body: "{}"})),
    "redirect-frame": at => tag("iframe", {src: `${away}/302?to=${encodeURIComponent(read_of(at))}`}),
    "redirect-image": at => tag("img", {src: `${away}/302?to=${encodeURIComponent(read_of(at))}`}),
  };
}

async function run({read, order, away, page, only}) {
  const found = {}, all = cases(read, order, away);
  const chosen = Object.entries(all).filter(([name]) => only ? only.includes(name) : name !== "service-worker");
  await Promise.all(chosen.map(async ([name, act]) => {
    found[name] = await limited((async () => act(`${page}.${name}`))());
  }));
  await new Promise(done => setTimeout(done, 300));
  return found;
}
