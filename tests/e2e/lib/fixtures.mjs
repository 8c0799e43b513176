// The browser as the tests use it: a real profile, WebGPU in software, and no error in the console.
import { test as base, chromium, expect } from "@playwright/test";
import { readFileSync } from "node:fs";
import { discard, scratch } from "./folders.mjs";

const flags = JSON.parse(readFileSync(new URL("../../chromium-flags.json", import.meta.url), "utf8"));

/** A browser with this profile. */
export const launch = (profile, { baseURL, viewport, colorScheme } = {}) => chromium.launchPersistentContext(profile, {
  executablePath: process.env.QUANTSCOPE_CHROMIUM ?? "/usr/bin/chromium",
  args: flags,
  acceptDownloads: true,
  baseURL, viewport, colorScheme,
});

export const test = base.extend({
  // Errors in the console that a test brings about on purpose.
  forgiven: [/(?!)/, { option: true }],
  // A context off the record keeps the origin's private files in memory and gives them little room, so each
  // test has a profile of its own.
  context: async ({ baseURL, viewport, colorScheme }, use) => {
    const profile = scratch("profile");
    const context = await launch(profile, { baseURL, viewport, colorScheme });
    await use(context);
    await context.close();
    discard(profile);
  },
  page: async ({ context, forgiven }, use) => {
    const page = context.pages()[0] ?? await context.newPage();
    const errors = [];
    page.on("console", (message) => {
      if (message.type() === "error") errors.push(message.text());
    });
    page.on("pageerror", (error) => errors.push(String(error)));
    await use(page);
    const unforgiven = errors.filter((error) => !forgiven.test(error));
    expect(unforgiven, "errors in the console, refusals by the content security policy among them").toEqual([]);
  },
});

export { expect };
