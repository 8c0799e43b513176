// What is wrong with a damaged export: the page says what the command line says, and nothing else.
import { expect, test } from "../lib/fixtures.mjs";
import { audit, rulesOf } from "../lib/cli.mjs";
import { faults } from "../lib/faults.mjs";
import { discard, golden, scratch } from "../lib/folders.mjs";
import { arrive, openFolder, rules, verify } from "../lib/page.mjs";

for (const fault of faults) {
  test(fault.title, async ({ page }) => {
    const folder = scratch("fault");
    fault.make(folder);
    await arrive(page, "cpu");
    await openFolder(page, folder);
    await verify(page);
    const shown = await rules(page);
    expect(shown, "page and command line").toEqual(rulesOf(audit(folder)));
    // What the sound export says of itself (tied weights, say) stays; the fault is what comes on top.
    const usual = rulesOf(audit(golden(fault.of)));
    expect(shown.filter((rule) => !usual.includes(rule))).toEqual(fault.rules);
    discard(folder);
  });
}
