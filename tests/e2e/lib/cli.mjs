// The command line's answer to the same question.
import { spawnSync } from "node:child_process";

/** The report of `quantscope audit --json`; findings give status 1, which is an answer too. */
export function audit(folder, ...flags) {
  const { status, stdout, stderr, error } =
    spawnSync(process.env.QUANTSCOPE_CLI, ["audit", folder, "--json", "--engine", "cpu", ...flags], { encoding: "utf8", maxBuffer: 1 << 28 });
  if (error) throw error;
  if (status !== 0 && status !== 1) throw new Error(`quantscope audit ended with ${status}: ${stderr}`);
  return JSON.parse(stdout);
}

/** Rule ids of a report, sorted, each once. */
export const rulesOf = (report) => [...new Set(report.findings.map(({ rule }) => rule))].sort();

/** What a command prints with `--json`, where status 1 is an answer too. */
function told(...words) {
  const { status, stdout, stderr, error } =
    spawnSync(process.env.QUANTSCOPE_CLI, [...words, "--json"], { encoding: "utf8", maxBuffer: 1 << 28 });
  if (error) throw error;
  if (status !== 0 && status !== 1) throw new Error(`quantscope ${words[0]} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout);
}

/** What `quantscope diff` says of two folders. */
export const diff = (a, b, ...flags) => told("diff", a, b, "--engine", "cpu", ...flags).diff;

/** What `quantscope preview` says; `words` are its arguments. */
export const preview = (...words) => told("preview", ...words, "--engine", "cpu");
