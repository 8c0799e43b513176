// Every call of the browser that the worker makes fails once, in every way. What comes of it is the right result, or
// an error that says what has failed, with nothing under a final name; and the page goes on without being loaded anew.
// QUANTSCOPE_VISITS=all visits every call; without it a part of them, spread over all.
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { WAYS, askTrap, keepDownloads, session, setTrap, sha256, startAgain } from "../lib/faults_injected.mjs";
import { expect, test } from "../lib/fixtures.mjs";
import { discard, scratch } from "../lib/folders.mjs";
import { opened, part } from "../lib/page.mjs";
import { answerPicker, pickedFiles, removePicked } from "../lib/picked.mjs";
import { layers, weights } from "../lib/random.mjs";
import { writeTensors } from "../lib/safetensors.mjs";

const ALL = process.env.QUANTSCOPE_VISITS === "all";
/** Visits of a short run, for each kind of session. */
const SHORT = 14;
/** Calls and ways when all of them were visited, less some: how often progress is told depends on the machine. */
const FAULTS = { "within the browser": 225, "into a folder": 300, "on the GPU": 290 };
const MANIFEST = "quantscope.manifest.json";

// What fails on purpose is told in the console too.
test.use({ forgiven: /planted|unreachable|RuntimeError|memory|panicked|terminate|Failed to load resource|DataCloneError|Uncaught|could not read a message/ });

let folder;
let expected;
test.beforeAll(() => {
  const place = scratch("faults");
  folder = join(place, "model");
  mkdirSync(folder);
  const tensors = layers(2, 128, 256);
  tensors.set("model.norm.weight", { dtype: "BF16", shape: [256], bytes: weights(256, 9) });
  writeTensors(join(folder, "model.safetensors"), { tensors });
  writeFileSync(join(folder, "config.json"), JSON.stringify({ model_type: "llama", torch_dtype: "bfloat16" }));
  const into = join(place, "out");
  const { status, stderr } = spawnSync(process.env.QUANTSCOPE_CLI, ["convert", folder, "-o", into, "--to", "nvfp4"], { encoding: "utf8" });
  if (status !== 0) throw new Error(`quantscope convert ended with ${status}: ${stderr}`);
  expected = Object.fromEntries(readdirSync(into).map((name) => [name, sha256(readFileSync(join(into, name)))]));
});
test.afterAll(() => discard(join(folder, "..")));

const isTemporary = (name) => name.startsWith(".quantscope-");
const finished = (files) => Object.fromEntries(Object.entries(files).filter(([name]) => !isTemporary(name)));
/** Without the manifest, which the command line writes with another path. */
const comparable = ({ [MANIFEST]: manifest, ...files }) => {
  expect(manifest, "there is a manifest").toBeTruthy();
  return files;
};

/** One session; answers what came of it, with the files of the picked folder where that is where they go. */
async function run(page, into) {
  const result = await session(page, folder, { into });
  if (!into) return result;
  const files = finished(await pickedFiles(page));
  return result.error ? { ...result, left: files } : { files };
}

/** Every fault of a session, as calls were counted: door, which call of it, way, and whether files are being named then. */
function faultsOf(calls) {
  const faults = [];
  const counts = {};
  for (const door of calls) {
    counts[door] = (counts[door] ?? 0) + 1;
    const naming = Boolean(counts.move);
    for (const way of [...WAYS[door], "killed", "exhausted"]) faults.push({ door, nth: counts[door], way, naming });
  }
  return faults;
}

/** Some of them: each door and way once, and the rest evenly spread. */
function spread(faults, most) {
  const seen = new Set();
  const first = faults.filter(({ door, way }) => !seen.has(`${door} ${way}`) && seen.add(`${door} ${way}`));
  const kept = new Set(first.filter((_, index) => Math.floor((index * most) / first.length) !== Math.floor(((index - 1) * most) / first.length)));
  return faults.filter((fault) => kept.has(fault));
}

/** Takes away what is in the picked folder, once the browser has let go of what a dead worker held. */
const clear = (page) => expect(async () => removePicked(page)).toPass({ timeout: 30_000 });

async function visit(page, fault, into) {
  const what = JSON.stringify(fault);
  await setTrap(page, fault);
  const result = await run(page, into);
  if (result.error) {
    expect(result.error.length, what).toBeGreaterThan(30);
    expect(result.error, what).not.toMatch(/undefined|\[object|null/);
    if (fault.way === "killed") expect(result.error, what).toContain("Another one has begun");
    if (fault.door === "read" && fault.way !== "killed" && fault.way !== "exhausted") {
      // Of what was opened, or of what was written and is read back.
      expect(Object.keys(expected).filter((name) => result.error.includes(name)), `${what}: ${result.error}`).not.toEqual([]);
    }
    const left = Object.entries(result.left ?? {});
    // Only who may no longer remove what is there, or lives no longer, leaves it; it is right.
    const ends = result.error.includes("Another one has begun");
    if (fault.way !== "revoked" && !(ends && fault.naming)) expect(left, `${what}: nothing has its final name`).toEqual([]);
    for (const [name, hash] of left) {
      if (name !== MANIFEST) expect(hash, `${what}, ${name}`).toBe(expected[name]);
      if (!ends) expect(result.error, what).toContain(name);
    }
    if (result.left?.[MANIFEST]) expect(Object.keys(result.left).sort(), `${what}: the manifest comes last`).toEqual(Object.keys(expected).sort());
    await expect(part(page, "convert-result")).toBeHidden();
  } else {
    expect(comparable(result.files), what).toEqual(comparable(expected));
  }
  // The worker may be another one by now.
  await expect(async () => setTrap(page)).toPass({ timeout: 30_000 });
  if (into) await clear(page);
  await startAgain(page);
  let again = await run(page, into);
  if (fault.way === "exhausted" && again.error) {
    // The call itself failed, and the worker lived on until it needed memory.
    expect(again.error, what).toContain("Another one has begun");
    await startAgain(page);
    again = await run(page, into);
  }
  expect(again.error, `${what}, and then once more`).toBeUndefined();
  expect(comparable(again.files), `${what}, and then once more`).toEqual(comparable(expected));
  if (into) await clear(page);
  await startAgain(page);
  return result.error ? result.step : "right";
}

for (const [title, query, into] of [
  ["within the browser", "engine=cpu&workers=0", false],
  ["into a folder", "engine=cpu&workers=0", true],
  ["on the GPU", "engine=gpu&workers=0", false],
]) {
  test(`a session ${title}`, async ({ page, context }) => {
    test.setTimeout(ALL ? 3_600_000 : 400_000);
    await keepDownloads(context);
    await answerPicker(context);
    await page.goto(`/faulty/?${query}`);
    await expect(part(page, "drop-zone")).toBeVisible();
    // What is said before the worker listens is lost.
    await expect(async () => setTrap(page)).toPass({ timeout: 60_000 });
    const undisturbed = await run(page, into);
    expect(undisturbed.error).toBeUndefined();
    expect(comparable(undisturbed.files)).toEqual(comparable(expected));
    const calls = await askTrap(page);
    if (into) await clear(page);
    await startAgain(page);
    const faults = faultsOf(calls);
    const chosen = ALL ? faults : spread(faults, SHORT);
    const came = {};
    for (const fault of chosen) {
      const outcome = await visit(page, fault, into);
      came[outcome] = (came[outcome] ?? 0) + 1;
    }
    console.log(`${title}: ${calls.length} calls, ${chosen.length} of ${faults.length} visits; what came of them: ${JSON.stringify(came)}`);
    expect(faults.length, "there is less to visit than before").toBeGreaterThanOrEqual(FAULTS[title]);
    expect(chosen.length).toBeGreaterThanOrEqual(ALL ? faults.length : SHORT);
    expect(Object.keys(came).length, "some end well, some do not").toBeGreaterThan(1);
  });
}

/** Plants something into the page before its program runs. */
async function planted(page, context, script) {
  await keepDownloads(context);
  await answerPicker(context);
  await context.addInitScript(script);
  await page.goto("/?engine=cpu&workers=0");
  await expect(part(page, "drop-zone")).toBeVisible();
}

async function isRight(page, into = false) {
  const result = await run(page, into);
  expect(result.error).toBeUndefined();
  expect(comparable(result.files)).toEqual(comparable(expected));
}

/** Has the n-th message between page and worker fail, for each of a session or a part of them, and counts how it ends. */
async function eachMessage(page) {
  const set = (failing) => page.evaluate((failing) => { window.messages = { count: 0, failing }; }, failing);
  await set(0);
  await isRight(page);
  const count = await page.evaluate(() => window.messages.count);
  expect(count, "messages of a session").toBeGreaterThan(4);
  await startAgain(page);
  let told = 0;
  let reopened = 0;
  const step = ALL ? 1 : Math.ceil(count / SHORT);
  for (let failing = 1; failing <= count; failing += step) {
    await set(failing);
    const result = await run(page, false);
    if (result.error) {
      expect(result.error).toContain("Another one has begun");
      told += 1;
      if (await part(page, "open-again").isVisible()) {
        await part(page, "open-again").click();
        await opened(page);
        reopened += 1;
      }
    } else {
      expect(comparable(result.files)).toEqual(comparable(expected));
    }
    await set(0);
    await startAgain(page);
    await isRight(page);
    await startAgain(page);
  }
  console.log(`${count} messages, every ${step}. visited, ${told} of them told as errors; ${reopened} times the files were opened again with a click`);
  expect(told).toBeGreaterThan(2);
  expect(reopened).toBeGreaterThan(0);
}

test("every request that the page cannot send is told, and the page goes on", async ({ page, context }) => {
  test.setTimeout(ALL ? 1_200_000 : 400_000);
  await planted(page, context, () => {
    const post = Worker.prototype.postMessage;
    window.messages = { count: 0, failing: 0 };
    Worker.prototype.postMessage = function (...given) {
      window.messages.count += 1;
      if (window.messages.count === window.messages.failing) throw new DOMException("planted: it cannot be cloned", "DataCloneError");
      return post.apply(this, given);
    };
  });
  await eachMessage(page);
});

test("every answer that the browser cannot read is told, and the page goes on", async ({ page, context }) => {
  test.setTimeout(ALL ? 1_200_000 : 400_000);
  await planted(page, context, () => {
    window.messages = { count: 0, failing: 0 };
    const Sound = window.Worker;
    window.Worker = class extends Sound {
      constructor(...given) {
        super(...given);
        // Before the page listens.
        this.addEventListener("message", (event) => {
          window.messages.count += 1;
          if (window.messages.count !== window.messages.failing) return;
          event.stopImmediatePropagation();
          this.dispatchEvent(new MessageEvent("messageerror"));
        });
      }
    };
  });
  await eachMessage(page);
});

test("without a worker the page says so", async ({ page, context }) => {
  await planted(page, context, () => {
    window.Worker = function () { throw new DOMException("planted: no worker", "SecurityError"); };
  });
  await expect(part(page, "error-box")).toContainText(/could not be started: .*planted.*Reload the page/);
});

test("without a keeper of its files the page works as before", async ({ page, context }) => {
  await planted(page, context, () => {
    ServiceWorkerContainer.prototype.register = () => Promise.reject(new DOMException("planted: no keeper", "SecurityError"));
  });
  await isRight(page);
  expect(await page.evaluate(() => navigator.serviceWorker.controller)).toBeNull();
});

test("a folder that the browser refuses, and a file that cannot be saved, are told", async ({ page, context }) => {
  await planted(page, context, () => {
    const [pick, make] = [window.showDirectoryPicker, URL.createObjectURL];
    window.refusing = { folder: true, save: false };
    window.showDirectoryPicker = async (...given) => {
      if (window.refusing.folder) throw new DOMException("planted: not allowed", "NotAllowedError");
      return pick(...given);
    };
    URL.createObjectURL = (blob) => {
      if (window.refusing.save) throw new DOMException("planted: no address", "QuotaExceededError");
      return make.call(URL, blob);
    };
  });
  const refused = await session(page, folder, { into: true });
  expect(refused.error).toContain("planted: not allowed");
  await page.evaluate(() => { window.refusing = { folder: false, save: true }; });
  await startAgain(page);
  const unsaved = await session(page, folder);
  expect(unsaved.files, "nothing was saved").toEqual({});
  await expect(part(page, "error-box")).toContainText(/could not be saved.*planted: no address/);
  await page.evaluate(() => { window.refusing.save = false; });
  await startAgain(page);
  await isRight(page);
  await startAgain(page);
  await isRight(page, true);
});
