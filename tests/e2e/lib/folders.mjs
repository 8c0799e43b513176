// Folders of the golden data, and scratch folders of one test.
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const data = fileURLToPath(new URL("../../data", import.meta.url));

/** A path in the golden data, such as `golden/_src/wan_vae`. */
export const golden = (path) => join(data, path);

export const readJson = (file) => JSON.parse(readFileSync(file, "utf8"));

/** The one weight file of a folder. */
export function weightFile(folder) {
  const names = readdirSync(folder).filter((name) => name.endsWith(".safetensors"));
  if (names.length !== 1) throw new Error(`${folder} has ${names.length} weight files`);
  return join(folder, names[0]);
}

/** A new folder under the system's place for temporary files. */
export const scratch = (name) => mkdtempSync(join(tmpdir(), `quantscope-${name}-`));

export const discard = (folder) => rmSync(folder, { recursive: true, force: true });

/** A copy of a golden folder that a test may damage. */
export function copyOf(path, into) {
  cpSync(golden(path), into, { recursive: true });
  return into;
}
