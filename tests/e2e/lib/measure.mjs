// Measures what a page costs: work of its main thread per frame, and memory of its process.
import { readFileSync, readdirSync } from "node:fs";

/** Runs `act` and answers the main thread's work in each frame meanwhile, in milliseconds, sorted. */
export async function workPerFrame(page, act) {
  const session = await page.context().newCDPSession(page);
  const events = [];
  session.on("Tracing.dataCollected", ({ value }) => events.push(...value));
  const complete = new Promise((resolve) => { session.once("Tracing.tracingComplete", resolve); });
  await session.send("Tracing.start", {
    transferMode: "ReportEvents",
    traceConfig: { includedCategories: ["__metadata", "devtools.timeline", "disabled-by-default-devtools.timeline"] },
  });
  await act();
  await session.send("Tracing.end");
  await complete;
  await session.detach();
  const mains = new Set(events.filter(({ name, args }) => name === "thread_name" && args.name === "CrRendererMain").map(({ pid, tid }) => `${pid}/${tid}`));
  const frames = events.filter(({ name }) => name === "FireAnimationFrame");
  // Of several renderers the one that draws frames is the page's.
  const of = ({ pid, tid }) => `${pid}/${tid}`;
  const busiest = [...mains].map((main) => [main, frames.filter((event) => of(event) === main).length]).sort((a, b) => b[1] - a[1])[0][0];
  const begins = frames.filter((event) => of(event) === busiest).map(({ ts }) => ts).sort((a, b) => a - b);
  const tasks = events.filter((event) => of(event) === busiest && event.ph === "X" && event.name === "RunTask");
  const work = begins.map(() => 0);
  // Time on the processor, where the browser tells it: the machine may do other things meanwhile.
  for (const { ts, dur, tdur = dur } of tasks) {
    let frame = begins.findIndex((begin) => begin > ts);
    if (frame < 0) frame = begins.length;
    if (frame > 0) work[frame - 1] += tdur / 1000;
  }
  return work.slice(0, -1).sort((a, b) => a - b);
}

export const percentile = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];

const statusOf = (pid) => {
  try {
    return Number(/PPid:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]);
  } catch {
    return 0;
  }
};

/** Memory of the largest page process that this test runs, in bytes; what it shares with others counts in part. */
export function pageMemory() {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
  const parents = new Map(pids.map((pid) => [pid, statusOf(pid)]));
  const ours = (pid) => pid === process.pid || (parents.get(pid) > 1 && ours(parents.get(pid)));
  const sizes = pids.filter(ours).map((pid) => {
    try {
      const renderer = readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("--type=renderer");
      return renderer ? Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))[1]) * 1024 : 0;
    } catch {
      return 0;
    }
  });
  return Math.max(0, ...sizes);
}
