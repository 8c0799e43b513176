// A folder of the user's, as far as a test without a person can have one: the browser's own picker asks for a click
// in a window of the system, so here it gives a folder of the origin's private file system, whose handles are of the
// same kind.

/** Makes the picker give the folder `picked` in every page of a context. */
export async function answerPicker(context) {
  await context.addInitScript(() => {
    window.showDirectoryPicker = async () => {
      const root = await navigator.storage.getDirectory();
      return root.getDirectoryHandle("picked", { create: true });
    };
  });
}

/** SHA-256 of every file in the picked folder, by name. */
export const pickedFiles = (page) => page.evaluate(async () => {
  const root = await navigator.storage.getDirectory();
  const folder = await root.getDirectoryHandle("picked", { create: true });
  const found = {};
  for await (const [name, handle] of folder.entries()) {
    const bytes = await (await handle.getFile()).arrayBuffer();
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    found[name] = Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }
  return found;
});

/** How many weight files a conversion into the picked folder has finished, as its journal says. */
export const finishedFiles = (page) => page.evaluate(async () => {
  const root = await navigator.storage.getDirectory();
  const folder = await root.getDirectoryHandle("picked", { create: true });
  let most = 0;
  for await (const [name, handle] of folder.entries()) {
    if (!name.endsWith(".journal")) continue;
    const lines = (await (await handle.getFile()).text()).split("\n").length - 2;
    most = Math.max(most, lines);
  }
  return most;
});

/** Puts a file of these words into the picked folder. */
export const putIntoPicked = (page, name, text) => page.evaluate(async ([name, text]) => {
  const root = await navigator.storage.getDirectory();
  const folder = await root.getDirectoryHandle("picked", { create: true });
  const stream = await (await folder.getFileHandle(name, { create: true })).createWritable();
  await stream.write(text);
  await stream.close();
}, [name, text]);

/** Takes the picked folder away with everything in it. */
export const removePicked = (page) => page.evaluate(async () => {
  const root = await navigator.storage.getDirectory();
  await root.removeEntry("picked", { recursive: true });
});

/** Presses a button, and takes the folder away that is picked then, before a file in it is open: the browser keeps those. */
export const pickAndRemove = (page, button) => page.evaluate(async (button) => {
  const root = await navigator.storage.getDirectory();
  const removed = async () => {
    try {
      await root.removeEntry("picked", { recursive: true });
      return true;
    } catch (error) {
      if (error.name !== "NotFoundError" && error.name !== "NoModificationAllowedError") throw error;
      return false;
    }
  };
  await removed();
  document.querySelector(`[data-testid="${button}"]`).click();
  while (!await removed()) await new Promise((next) => { setTimeout(next, 1); });
}, button);

/** Names of what tabs have in the browser's private file system: a folder for each that lives. */
export const tabFolders = (page) => page.evaluate(async () => {
  const root = await navigator.storage.getDirectory();
  const names = [];
  try {
    const output = await root.getDirectoryHandle("quantscope-output");
    for await (const [name, folder] of output.entries()) {
      for await (const inner of folder.keys()) names.push(`${name}/${inner}`);
    }
  } catch (error) {
    if (error.name !== "NotFoundError") throw error;
  }
  return names;
});
