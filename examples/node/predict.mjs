// Prints the likeliest classes of each picture, one a line: node predict.mjs EXPORT PICTURE...
// EXPORT is a folder that tools/export.py made with --format onnx or web.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { follow } from "./steps.mjs";

const FILE = "inference.onnx";
const TOP = 5;
const [folder, ...pictures] = process.argv.slice(2);

async function main() {
  if (!pictures.length) throw new Error("usage: node predict.mjs EXPORT PICTURE...");
  const description = await read(join(folder, "preprocessing.json"));
  if (!description.files?.[FILE] || description.steps?.at(-1).op !== "softmax") {
    throw new Error(`${folder}: no export to ONNX for classes: make one with tools/export.py --format onnx`);
  }
  const { default: sharp } = await installed("sharp");
  const { default: onnx } = await installed("onnxruntime-node");
  const session = await about(join(folder, FILE), onnx.InferenceSession.create(join(folder, FILE)));
  const run = async (data, shape, input, output) => {
    const results = await session.run({ [input]: new onnx.Tensor("float32", data, shape) });
    return results[output].data;
  };
  for (const picture of pictures) {
    const decode = () => about(picture, decoded(picture, sharp));
    const probabilities = await follow(description.steps, { decode, run });
    const names = description.classes ?? probabilities.map((_, i) => `class ${i}`);
    const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
    if (pictures.length > 1) console.log(picture);
    for (const i of order.slice(0, TOP)) console.log(`${probabilities[i].toFixed(6)}  ${names[i]}`);
  }
}

async function decoded(picture, sharp) {
  // Color profiles are left alone, as by Pillow, which read the pictures of the training.
  const image = sharp(await readFile(picture), { autoOrient: true, ignoreIcc: true });
  if ((await image.metadata()).space === "cmyk") throw new Error("CMYK, expected RGB or gray: convert it");
  const raw = image.toColourspace("srgb").ensureAlpha().raw({ depth: "uchar" });
  const { data, info } = await raw.toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, data };
}

async function read(file) {
  return about(file, readFile(file, "utf-8").then(JSON.parse));
}

function installed(name) {
  return import(name).catch((error) => {
    throw new Error(`${name} does not load (${error.message}): run npm install in ${import.meta.dirname}`);
  });
}

function about(file, promise) {
  return promise.catch((error) => {
    throw new Error(`${file}: ${error.message}`);
  });
}

main().catch((error) => {
  console.error(`error: ${error.message.trim().replace(/\s*\n\s*/g, " ")}`);
  process.exitCode = 2;
});
