// One browser at a time: the tests measure long tasks, and software WebGPU takes both cores of a small machine.
import { defineConfig } from "@playwright/test";

const port = Number(process.env.QUANTSCOPE_PORT ?? 4173);

export default defineConfig({
  testDir: "specs",
  // The pictures are taken only when they are asked for.
  testIgnore: process.env.QUANTSCOPE_SCREENSHOTS ? [] : ["screenshots.spec.mjs"],
  workers: 1,
  retries: 1,
  timeout: 120_000,
  expect: { timeout: 20_000 },
  reporter: [["list"]],
  outputDir: "test-results",
  use: { baseURL: `http://127.0.0.1:${port}/`, trace: "off" },
  webServer: {
    command: `node server.mjs ${port}`,
    port,
    reuseExistingServer: false,
  },
});
