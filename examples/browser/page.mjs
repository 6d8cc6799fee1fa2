// The page of an export: a picture that is chosen, dropped or pasted -> the probabilities of the classes.

import { follow } from "./steps.mjs";

const ENGLISH = {
  title: "What is in this picture?",
  intro: "A RegionViT looks at it in your browser. The picture stays on this device.",
  choose: "Choose a picture",
  another: "Choose another picture",
  or: "or drop or paste one here",
  seen: "what the model sees",
  sure: (percent) => `${percent} sure`,
  more: (count) => `Show all ${count} classes`,
  less: "Show the top five",
  loading: "Loading the model …",
  about: (model, precision) => `${model} in ${precision}`,
  took: (ms) => `, ${ms} ms for this picture`,
  class: (number) => `class ${number}`,
  noWebAssembly: "This browser has no WebAssembly, which the model needs: take a newer one, or switch it on.",
  noModel: (why) => `The model did not load (${why}): reload the page, or export it again.`,
  noPicture: (name) => `${name} is not a picture that this browser reads: choose a JPEG, PNG, WebP, GIF or BMP.`,
  failed: (name, why) => `${name} could not be classified (${why}).`,
  tooLarge: (width, height) => `${width} x ${height} pixels are more than this browser can draw: make it smaller`,
  pasted: "What was pasted",
};
const CHINESE = {
  title: "图中是什么？",
  intro: "RegionViT 在您的浏览器里识别图片，图片不会离开本机。",
  choose: "选择图片",
  another: "换一张图片",
  or: "或把图片拖放、粘贴到这里",
  seen: "模型看到的图",
  sure: (percent) => `把握 ${percent}`,
  more: (count) => `显示全部 ${count} 个类别`,
  less: "只显示前五名",
  loading: "正在加载模型……",
  about: (model, precision) => `${model}，${precision}`,
  took: (ms) => `，此图用时 ${ms} 毫秒`,
  class: (number) => `类别 ${number}`,
  noWebAssembly: "本浏览器没有模型所需的 WebAssembly：请换用较新的浏览器，或启用它。",
  noModel: (why) => `模型未能加载（${why}）：请刷新页面，或重新导出。`,
  noPicture: (name) => `${name} 不是本浏览器能读取的图片：请选择 JPEG、PNG、WebP、GIF 或 BMP。`,
  failed: (name, why) => `${name} 无法识别（${why}）。`,
  tooLarge: (width, height) => `${width} x ${height} 像素超出本浏览器能绘制的大小：请缩小图片`,
  pasted: "粘贴的内容",
};
const TOP = 5;

const chinese = navigator.language.startsWith("zh");
const words = chinese ? CHINESE : ENGLISH;
const element = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const inLine = (error) => String(error?.message ?? error).replace(/\s+/g, " ").trim();

let model; // {description, run}
let newest = 0; // counts pictures: an answer that comes after the next picture is not shown

async function start() {
  element("unstarted").remove();
  document.documentElement.lang = chinese ? "zh-CN" : "en";
  document.title = `${words.title} RegionViT`;
  for (const each of document.querySelectorAll("[data-text]")) each.textContent = words[each.dataset.text];
  if (typeof WebAssembly !== "object") return complain(words.noWebAssembly);
  element("status").textContent = words.loading;
  try {
    model = await load();
  } catch (error) {
    return complain(words.noModel(inLine(error)));
  } finally {
    element("status").textContent = "";
  }
  describe();
  listen();
  element("panes").hidden = false;
}

async function load() {
  const [description, onnx] = await Promise.all([
    fetched("preprocessing.json").then((answer) => answer.json()),
    import("./ort.wasm.bundle.min.mjs"),
  ]);
  onnx.env.wasm.numThreads = 1; // more need headers that a plain static server does not send
  const content = await fetched("inference.onnx").then((answer) => answer.arrayBuffer());
  const session = await onnx.InferenceSession.create(new Uint8Array(content), { executionProviders: ["wasm"] });
  const run = async (data, shape, input, output) => {
    const results = await session.run({ [input]: new onnx.Tensor("float32", data, shape) });
    return results[output].data;
  };
  return { description, run };
}

async function fetched(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name}: ${answer.status} ${answer.statusText}`);
  return answer;
}

function listen() {
  const [input, drop, more] = ["file", "drop", "more"].map(element);
  input.addEventListener("change", () => {
    const [file] = input.files;
    if (file) classify(file, file.name);
    input.value = ""; // so that the same file may be chosen again
  });
  const over = (event, is) => {
    event.preventDefault();
    drop.classList.toggle("over", is);
  };
  document.addEventListener("dragover", (event) => over(event, true));
  document.addEventListener("dragleave", (event) => over(event, false));
  document.addEventListener("drop", (event) => {
    over(event, false);
    const [file] = event.dataTransfer.files;
    if (file) classify(file, file.name);
  });
  document.addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    if (file) classify(file, words.pasted);
  });
  more.addEventListener("click", () => expand(more.getAttribute("aria-expanded") !== "true"));
}

async function classify(file, name) {
  const number = ++newest;
  let bitmap;
  try {
    // As Pillow reads it: upright, and without the color profile.
    const options = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
    bitmap = await createImageBitmap(file, options);
  } catch {
    if (number === newest) complain(words.noPicture(name));
    return;
  }
  try {
    const resized = [];
    const begin = performance.now();
    const probabilities = await follow(model.description.steps, {
      decode: () => pixels(bitmap),
      run: model.run,
      seen: (picture) => resized.push(picture),
    });
    if (number === newest) show(file, bitmap, resized[0], probabilities, performance.now() - begin);
  } catch (error) {
    if (number === newest) complain(words.failed(name, inLine(error)));
  } finally {
    bitmap.close();
  }
}

/** A picture -> {width, height, data}: RGBA, over white already, as a canvas loses levels where it is transparent. */
function pixels(bitmap) {
  const { width, height } = bitmap;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  const drawn = context.getImageData(0, 0, width, height);
  if (drawn.data[3] !== 255) throw new Error(words.tooLarge(width, height)); // a canvas past its limits stays empty
  return drawn;
}

function show(file, bitmap, seen, probabilities, ms) {
  element("error").textContent = "";
  const picture = element("picture");
  URL.revokeObjectURL(picture.src);
  picture.src = URL.createObjectURL(file);
  picture.classList.toggle("small", Math.max(bitmap.width, bitmap.height) < 200);
  picture.hidden = false;
  element("choose").textContent = words.another;
  draw(element("seen"), seen);
  const names = model.description.classes ?? probabilities.map((_, i) => words.class(i));
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
  element("first").textContent = names[order[0]];
  element("sure").textContent = words.sure(percent(probabilities[order[0]]));
  element("classes").replaceChildren(...order.map((i) => line(names[i], probabilities[i])));
  expand(false);
  describe(ms);
  element("results").hidden = false;
}

function line(name, probability) {
  const item = document.createElement("li");
  const [label, share, bar] = ["span", "b", "i"].map((tag) => item.appendChild(document.createElement(tag)));
  item.dataset.probability = probability;
  item.style.setProperty("--share", probability);
  label.textContent = name;
  share.textContent = percent(probability);
  bar.setAttribute("aria-hidden", "true");
  return item;
}

function draw(canvas, { width, height, data }) {
  Object.assign(canvas, { width, height });
  const opaque = new Uint8ClampedArray(width * height * 4).fill(255);
  data.forEach((level, i) => (opaque[Math.floor(i / 3) * 4 + (i % 3)] = level));
  canvas.getContext("2d").putImageData(new ImageData(opaque, width, height), 0, 0);
}

function expand(all) {
  const [lines, more] = [[...element("classes").children], element("more")];
  lines.forEach((each, i) => (each.hidden = !all && i >= TOP));
  more.hidden = lines.length <= TOP;
  more.setAttribute("aria-expanded", String(all));
  more.textContent = all ? words.less : words.more(lines.length);
}

function describe(ms) {
  const { model: name, precision } = model.description;
  element("about").textContent = words.about(name, precision) + (ms ? words.took(Math.max(1, Math.round(ms))) : "");
}

function complain(message) {
  element("error").textContent = message;
  element("results").hidden = true;
  element("picture").hidden = true;
}

start();
