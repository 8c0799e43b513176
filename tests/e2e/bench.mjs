// Contestants of `cargo xtask bench` in Chromium: `convert DIST FOLDER` lets the built page convert a checkpoint to
// NVFP4, from the press of the button to the proven result; `read DIST FILE` reads a file in a tab, piece by piece,
// and does nothing with it. Each prints `ready`, and for every line `run` the seconds, a check, and the seconds again,
// since nobody counts what the processor spends on all the processes of a browser.
import { chromium } from "@playwright/test";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { discard, scratch } from "./lib/folders.mjs";
import { serve } from "./server.mjs";

const [name, dist, input] = process.argv.slice(2);
const flags = JSON.parse(readFileSync(new URL("../chromium-flags.json", import.meta.url), "utf8"));
// Longer than any turn takes on a machine that others use as well.
const patience = { timeout: 900_000 };
const PIECE = 8 << 20;

const contestants = {
  convert: (page, address) => async () => {
    await page.goto(`${address}/?engine=cpu`);
    const part = (name) => page.getByTestId(name);
    await part("pick-folder").setInputFiles(input, patience);
    await part("band-verdict").waitFor(patience);
    await part("nav-convert").click();
    await part("convert-scheme").selectOption("nvfp4");
    await part("plan-packed-count").waitFor(patience);
    await page.waitForFunction(() => !document.querySelector('[data-testid="plan-run"]')?.disabled, undefined, patience);
    return page.evaluate(() => new Promise((resolve, reject) => {
      const part = (name) => document.querySelector(`[data-testid="${name}"]`);
      if (part("plan-packed-count").textContent === "0") reject(new Error("the plan packs nothing"));
      const begun = performance.now();
      new MutationObserver((_, observer) => {
        if (!part("convert-result")) return;
        observer.disconnect();
        resolve({ milliseconds: performance.now() - begun, check: 0 });
      }).observe(document.body, { childList: true, subtree: true });
      part("plan-run").click();
    }));
  },
  read: (page, address) => async () => {
    // A file of the page that runs no program.
    await page.goto(`${address}/early.js`);
    await page.evaluate(() => {
      const picker = document.createElement("input");
      picker.type = "file";
      document.body.replaceChildren(picker);
    });
    await page.locator("input").setInputFiles(input, patience);
    return page.evaluate(async (piece) => {
      const [file] = document.querySelector("input").files;
      const begun = performance.now();
      let check = 0;
      for (let at = 0; at < file.size; at += piece) {
        check += (await file.slice(at, at + piece).arrayBuffer()).byteLength;
      }
      return { milliseconds: performance.now() - begun, check };
    }, PIECE);
  },
};

const server = await serve(dist, 0);
const profile = scratch("bench-profile");
const executablePath = process.env.QUANTSCOPE_CHROMIUM ?? "/usr/bin/chromium";
const context = await chromium.launchPersistentContext(profile, { executablePath, args: flags });
const run = contestants[name](context.pages()[0] ?? (await context.newPage()), `http://127.0.0.1:${server.address().port}`);
await run();
console.log("ready");
for await (const _ of createInterface({ input: process.stdin })) {
  const { milliseconds, check } = await run();
  const seconds = (milliseconds / 1000).toFixed(9);
  console.log(`${seconds} ${check.toString(16).padStart(16, "0")} ${seconds}`);
}
await context.close();
server.close();
discard(profile);
