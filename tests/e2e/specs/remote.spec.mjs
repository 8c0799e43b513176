// Checkpoints at an address: what is fetched, what is asked first, and servers that misbehave.
import { spawnSync } from "node:child_process";
import { closeSync, copyFileSync, mkdirSync, openSync, readFileSync, readSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { audit, rulesOf } from "../lib/cli.mjs";
import { expect, test } from "../lib/fixtures.mjs";
import { copyOf, discard, golden, scratch } from "../lib/folders.mjs";
import { arrive, isVerified, openFolder, opened, part, rules, tabTo, verify, view } from "../lib/page.mjs";
import { serveRanges } from "../lib/range-server.mjs";

const source = "golden/e2e_llama_nvfp4/expected";
const configs = ["config.json", "hf_quant_config.json"];

/** Length of a weight file's header with the 8 bytes before it. */
function headerOf(file) {
  const length = Buffer.alloc(8);
  const handle = openSync(file, "r");
  readSync(handle, length, 0, 8, 0);
  closeSync(handle);
  return Number(length.readBigUInt64LE(0)) + 8;
}

/** A golden checkpoint with an index, as repositories have it. */
function withIndex() {
  const folder = copyOf(source, scratch("remote"));
  const map = {};
  for (const name of readdirSync(folder).filter((name) => name.endsWith(".safetensors"))) {
    const bytes = readFileSync(join(folder, name));
    const header = JSON.parse(bytes.subarray(8, headerOf(join(folder, name))).toString());
    for (const tensor of Object.keys(header)) if (tensor !== "__metadata__") map[tensor] = name;
  }
  writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify({ weight_map: map }));
  return folder;
}

/** Bytes that opening needs: headers, the index, the configs. */
function needed(folder) {
  let bytes = 0;
  for (const name of readdirSync(folder)) {
    const file = join(folder, name);
    if (name.endsWith(".safetensors")) {
      bytes += headerOf(file);
    } else if (configs.includes(name) || name.endsWith(".index.json")) bytes += statSync(file).size;
  }
  return bytes;
}

async function openAddress(page, address) {
  await page.goto("/remote.html?engine=cpu");
  await part(page, "address").fill(address);
  await part(page, "address-open").click();
}

const fetched = async (page) => Number(await part(page, "traffic").getAttribute("data-bytes"));

test("an address shows what the same folder shows, for headers, index and configs", async ({ page }) => {
  const folder = withIndex();
  const server = await serveRanges(folder);
  await openAddress(page, server.url("/model.safetensors.index.json"));
  await opened(page);
  expect(await fetched(page)).toBe(needed(folder));
  expect(server.sent).toBe(needed(folder));
  await expect(page).toHaveURL(/remote\.html.*address=http/);
  const there = await rules(page);
  expect(there).toEqual(rulesOf(audit(folder, "--headers-only")));
  // The address opens again by itself, where the user was.
  await page.reload();
  await opened(page);
  await expect(page).toHaveURL(/#\/findings/);
  await server.close();
  discard(folder);
});

test("163 shards cost their headers, the index and the config", async ({ page }) => {
  test.setTimeout(240_000);
  const root = scratch("remote-moe");
  const folder = join(root, "checkpoint");
  expect(spawnSync(process.env.QUANTSCOPE_XTASK, ["large", folder], { encoding: "utf8" }).status).toBe(0);
  const server = await serveRanges(folder);
  await openAddress(page, server.url("/model.safetensors.index.json"));
  await expect(part(page, "band-verdict")).toBeVisible({ timeout: 120_000 });
  expect(server.sent).toBe(needed(folder));
  expect(await fetched(page)).toBe(server.sent);
  await expect(part(page, "traffic")).toHaveText(/^Fetched 19\.\d MiB of 641\.\d GiB$/);
  await server.close();
  discard(root);
});

test("the scales alone are checked, for their own bytes", async ({ page }) => {
  const folder = withIndex();
  const spans = new Map();
  let scaleBytes = 0;
  for (const name of readdirSync(folder).filter((name) => name.endsWith(".safetensors"))) {
    const file = join(folder, name);
    const [bytes, data] = [readFileSync(file), headerOf(file)];
    const header = JSON.parse(bytes.subarray(8, data).toString());
    const scales = Object.entries(header).filter(([tensor]) => /_scale(_2)?$/.test(tensor));
    spans.set(`/${name}`, scales.map(([, { data_offsets: [from, to] }]) => [data + from, data + to]));
    scaleBytes += scales.reduce((sum, [, { data_offsets: [from, to] }]) => sum + to - from, 0);
    const [, { data_offsets: [damaged] }] = scales.find(([tensor, { dtype }]) => dtype === "F8_E4M3" && tensor.includes("up_proj"));
    bytes[data + damaged + 5] = 0x7f;
    writeFileSync(file, bytes);
  }
  const server = await serveRanges(folder);
  await openAddress(page, server.url("/model.safetensors.index.json"));
  await opened(page);
  const [before, asked] = [server.sent, server.requests.length];
  const there = await rules(page);
  await part(page, "verify-button").click();
  await expect(part(page, "held-scales")).toContainText(/The scales alone: [\d.]+ .?i?B/);
  expect(server.sent, "nothing is fetched unasked").toBe(before);
  await part(page, "held-scales").click();
  await expect(page.getByText("Scales checked on CPU")).toBeVisible();
  expect(server.sent - before).toBe(scaleBytes);
  for (const { path, headers } of server.requests.slice(asked)) {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(headers.range).map(Number);
    const inside = (at) => spans.get(path).some(([from, to]) => from <= at && at < to);
    for (let at = first; at <= last; at += 1) if (!inside(at)) throw new Error(`byte ${at} of ${path} is of no scale`);
  }
  expect(await rules(page)).toEqual([...there, "SV101"].sort());
  await expect(part(page, "verify-button")).not.toHaveAttribute("title", /was read on/);
  await view(page, "overview");
  await expect(page.getByText("headers, configs and scales; codes not yet")).toBeVisible();
  await server.close();
  discard(folder);
});

test("tensors are fetched when the user says so", async ({ page }) => {
  const folder = withIndex();
  const server = await serveRanges(folder);
  await openAddress(page, server.url("/model.safetensors.index.json"));
  await opened(page);
  const before = server.sent;
  await part(page, "verify-button").click();
  await expect(part(page, "held")).toContainText("127.0.0.1");
  await part(page, "held-refuse").click();
  await expect(part(page, "held")).toBeHidden();
  await view(page, "layers");
  await part(page, "layer-search").fill("layers.0.mlp.up_proj");
  await page.locator('[data-testid="layer-row"][data-name="model.layers.0.mlp.up_proj"]').click();
  await expect(part(page, "fetch-values")).toBeVisible();
  expect(server.sent).toBe(before);
  await part(page, "fetch-values").click();
  await expect(part(page, "layer-panel").getByText("First block")).toBeVisible();
  expect(server.sent).toBeGreaterThan(before);
  await part(page, "verify-button").click();
  await part(page, "held-allow").click();
  await isVerified(page);
  const remote = await rules(page);
  await arrive(page, "cpu");
  await openFolder(page, folder);
  await verify(page);
  expect(remote).toEqual(await rules(page));
  await server.close();
  discard(folder);
});

test("redirects, cuts, busy moments and slow answers are overcome", async ({ page }) => {
  const folder = withIndex();
  const shard = (path) => path.endsWith(".safetensors");
  const server = await serveRanges(folder, (path, count) => {
    if (path.endsWith("index.json")) return [{ moved: true }, { wait: 1500 }][count];
    if (shard(path)) return [{ moved: true }, { cut: 3 }, { cut: 5 }, { moved: true }, { cut: 100 }][count];
    return undefined;
  });
  await openAddress(page, server.url("/model.safetensors.index.json"));
  await opened(page);
  await server.close();
  discard(folder);
});

test("an address is opened, and fetching refused and allowed, by keyboard alone", async ({ page }) => {
  const folder = withIndex();
  const server = await serveRanges(folder);
  await page.goto("/remote.html?engine=cpu");
  await expect(part(page, "address")).toBeVisible();
  await tabTo(page, "address");
  await page.keyboard.type(server.url("/model.safetensors.index.json"));
  await page.keyboard.press("Enter");
  await opened(page);
  await tabTo(page, "verify-button");
  await page.keyboard.press("Enter");
  await tabTo(page, "held-refuse");
  await page.keyboard.press("Enter");
  await expect(part(page, "held")).toBeHidden();
  await tabTo(page, "verify-button");
  await page.keyboard.press("Enter");
  await tabTo(page, "held-allow");
  await page.keyboard.press("Enter");
  await isVerified(page);
  await server.close();
  discard(folder);
});

test("a link that hangs can be left at once", async ({ page }) => {
  const folder = withIndex();
  const server = await serveRanges(folder, (path) => (path.endsWith(".safetensors") ? { wait: 60_000 } : undefined));
  await openAddress(page, server.url("/model.safetensors.index.json"));
  await expect(part(page, "job-bar")).toBeVisible();
  const start = Date.now();
  await part(page, "job-cancel").click();
  await expect(part(page, "job-bar")).toBeHidden();
  expect(Date.now() - start).toBeLessThan(1000);
  await expect(part(page, "notice-box")).toContainText("Nothing was opened");
  await server.close();
  discard(folder);
});

test.describe("servers that cannot be relied on", () => {
  // The browser writes refusals and failures of the network into the console.
  test.use({ forgiven: /Failed to load resource|blocked by CORS policy|net::ERR/ });
  for (const [title, how, words] of [
    ["no ranges", { whole: true }, /does not answer ranges/],
    ["a part without a label", { unlabelled: true }, /Content-Range/],
    ["another length each time", { longer: true }, /changed while it was open/],
    ["another file each time", { other: true }, /changed while it was open/],
    ["pages are not let in", { hidden: true }, /CORS/],
    ["nothing there", { status: 404 }, /there is nothing at/],
    ["a token is wanted", { status: 401 }, /give a token/],
    ["the server is broken", { status: 500 }, /status 500/],
    ["the connection always breaks", { cut: 0 }, /broke off/],
  ]) {
    test(title, async ({ page }) => {
      const folder = withIndex();
      const [name] = readdirSync(folder).filter((name) => name.endsWith(".safetensors"));
      const server = await serveRanges(folder, () => how);
      await openAddress(page, server.url(`/${name}?X-Signature=secret`));
      await expect(part(page, "error-box")).toContainText(words);
      await expect(part(page, "error-box")).not.toContainText("secret");
      await server.close();
      discard(folder);
    });
  }
});

test("a repository of the hub: its commit, its token, and nothing of it elsewhere", async ({ page, context }) => {
  const sha = "0123456789abcdef0123456789abcdef01234567";
  const folder = withIndex();
  const seen = [];
  await context.route("https://huggingface.co/**", async (route) => {
    const request = route.request();
    const { pathname } = new URL(request.url());
    seen.push({ pathname, token: (await request.allHeaders()).authorization });
    const headers = { "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*", "Access-Control-Expose-Headers": "*" };
    if (request.method() === "OPTIONS") return route.fulfill({ status: 204, headers });
    if (pathname === "/api/models/org/name/revision/main") {
      const siblings = readdirSync(folder).map((name) => ({ rfilename: name, size: statSync(join(folder, name)).size }));
      return route.fulfill({ status: 200, headers, contentType: "application/json", body: JSON.stringify({ sha, siblings }) });
    }
    const bytes = readFileSync(join(folder, pathname.replace(`/org/name/resolve/${sha}/`, "")));
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec((await request.allHeaders()).range);
    const end = Math.min(Number(last) + 1, bytes.length);
    return route.fulfill({
      status: 206, body: bytes.subarray(Number(first), end),
      headers: { ...headers, "Content-Range": `bytes ${first}-${end - 1}/${bytes.length}` },
    });
  });
  await page.goto("/remote.html?engine=cpu");
  await page.getByText("It needs a token").click();
  await part(page, "token").fill("hf_verysecret");
  await part(page, "address").fill("https://huggingface.co/org/name");
  await part(page, "address-open").click();
  await opened(page);
  expect(seen.length).toBeGreaterThan(3);
  expect(seen.every(({ token }) => token === undefined || token === "Bearer hf_verysecret")).toBe(true);
  expect(seen.some(({ token }) => token === "Bearer hf_verysecret")).toBe(true);
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, location.href, document.cookie]));
  expect(kept).not.toContain("verysecret");
  // Another server is not told.
  const server = await serveRanges(folder);
  await part(page, "close-checkpoint").click();
  await part(page, "address").fill(server.url("/model.safetensors.index.json"));
  await part(page, "address-open").click();
  await opened(page);
  expect(server.requests.every(({ headers }) => headers.authorization === undefined)).toBe(true);
  await server.close();
  discard(folder);
});

test.describe("the page that is served by default", () => {
  test.use({ forgiven: /Content Security Policy|Refused to connect|violates/ });
  test("connects to nothing, from page and worker", async ({ page }) => {
    const folder = scratch("closed");
    mkdirSync(folder, { recursive: true });
    copyFileSync(golden("golden/_src/wan_vae/config.json"), join(folder, "config.json"));
    const server = await serveRanges(folder);
    await arrive(page, "cpu");
    const html = await (await page.request.get("/")).text();
    expect(/http-equiv="Content-Security-Policy"\s+content="([^"]+)"/.exec(html)[1]).not.toMatch(/https?:/);
    await expect(part(page, "address")).toHaveCount(0);
    await expect(part(page, "open-address")).toHaveAttribute("href", "remote.html");
    const ask = async (url) => fetch(url, { headers: { Range: "bytes=0-1" } }).then(() => "answered", () => "refused");
    expect(await page.evaluate(ask, server.url("/config.json"))).toBe("refused");
    const [worker] = page.workers();
    expect(await worker.evaluate(ask, server.url("/config.json"))).toBe("refused");
    expect(server.requests).toEqual([]);
    // The same question on the other page is answered.
    await page.goto("/remote.html");
    await expect(part(page, "address")).toBeVisible();
    expect(await page.evaluate(ask, server.url("/config.json"))).toBe("answered");
    await server.close();
    discard(folder);
  });
});
