// Keeps the built files of one version, so that the page opens without a network. precache.js, which the build
// writes, names the version and the files. A newer version is fetched whole and waits until the user wants it.
// As in trusted.js, which cannot be loaded before there is this.
self.trustedTypes?.createPolicy("default", {
  createScriptURL: (address) => (address === "./precache.js" ? address : null),
});
importScripts("./precache.js");

const { version, files } = self.precache;
const ours = "quantscope-";
const name = ours + version;

self.addEventListener("install", (event) => {
  const requests = files.map((file) => new Request(file, { cache: "reload" }));
  event.waitUntil(caches.open(name).then((cache) => cache.addAll(requests)));
});

self.addEventListener("activate", (event) => {
  const old = (keys) => keys.filter((key) => key.startsWith(ours) && key !== name);
  event.waitUntil(
    caches.keys()
      .then((keys) => Promise.all(old(keys).map((key) => caches.delete(key))))
      // What cannot be removed is tried again with the next version.
      .catch(() => {})
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("message", (event) => {
  if (event.data === "take over") self.skipWaiting();
});

// Files of this version come from the cache, all else goes its own way: what the page asks of other places is
// neither seen nor kept here.
self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== self.location.origin) return;
  const scope = new URL("./", self.location.href).pathname;
  if (!url.pathname.startsWith(scope)) return;
  const file = url.pathname.slice(scope.length) || "index.html";
  if (!files.includes(file)) return;
  event.respondWith(
    caches.open(name)
      .then((cache) => cache.match(file))
      // A browser that has lost what it kept, or cannot read it, asks the network as if nothing had been kept.
      .catch(() => {})
      .then((kept) => kept ?? fetch(event.request)),
  );
});
