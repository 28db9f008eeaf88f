// Runs a Python program on Pyodide:   node run.mjs PYODIDE_FOLDER WHEEL PROGRAM
// The wheel is unpacked where Pyodide keeps its packages; nothing is fetched. When the program fails: exit
// status 1, and the traceback on standard error.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, wheel, program] = process.argv.slice(2);
try {
  const { loadPyodide } = await import(pathToFileURL(`${folder}/pyodide.mjs`));
  const pyodide = await loadPyodide();
  pyodide.unpackArchive(new Uint8Array(readFileSync(wheel)), "wheel");
  pyodide.runPython(readFileSync(program, "utf8"));
} catch (error) {
  // Left uncaught, node would print the line it came from: all of Pyodide's loader is one line.
  console.error(error.message);
  process.exitCode = 1;
}
