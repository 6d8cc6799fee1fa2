// Follows `steps` of an export's preprocessing.json, from a picture to class probabilities: in Node and in browsers.
// Pictures of 8 bits are resized as OpenCV does it, level by level: other resizes lead to other probabilities.

/**
 * Follow the steps of an export.
 *
 * @param steps the list `steps` of preprocessing.json.
 * @param decode returns the picture as {width, height, data}: upright, RGBA, 8 bits a channel.
 * @param run runs the model: Float32Array, its shape, name of the input, name of the output -> logits.
 * @param seen gets each resized picture on its way, as {width, height, data}: RGB, 8 bits a channel.
 * @returns the probabilities of the classes.
 * @throws Error in one line: a step that is not known here.
 */
export async function follow(steps, { decode, run, seen = () => {} }) {
  let value;
  for (const step of steps) {
    switch (step.op) {
      case "decode":
        expect(step, { color: ["RGB"], upright_by: ["EXIF"], transparency_over: ["white"] });
        value = overWhite(await decode());
        break;
      case "crop":
        expect(step, { to: ["middle square"] });
        value = middleSquare(value);
        break;
      case "resize":
        expect(step, "floor_after_adding" in step ? IN_FLOAT32 : IN_8_BITS);
        value = resize(value, step);
        seen(value);
        break;
      case "scale":
        value = { ...value, data: Float64Array.from(value.data, (level) => level / step.divide_by) };
        break;
      case "normalize":
        value = { ...value, data: value.data.map((x, i) => (x - step.mean[i % 3]) / step.std[i % 3]) };
        break;
      case "transpose":
        expect(step, { from: ["HWC"], to: ["CHW"] });
        value = { data: planes(value), shape: [3, value.height, value.width] };
        break;
      case "cast":
        expect(step, { dtype: ["float32"] });
        value = { ...value, data: Float32Array.from(value.data) };
        break;
      case "batch":
        expect(step, { axis: [0] });
        value = { ...value, shape: [1, ...value.shape] };
        break;
      case "run":
        value = await run(value.data, value.shape, step.input, step.output);
        break;
      case "softmax":
        expect(step, { axis: [1] });
        value = softmax(value, step.temperature);
        break;
      default:
        throw new Error(`preprocessing.json: unknown step ${JSON.stringify(step)}: get newer examples`);
    }
  }
  return value;
}

function expect(step, values) {
  for (const [key, known] of Object.entries(values)) {
    if (!known.includes(step[key])) {
      const message = `unknown ${key} in ${JSON.stringify(step)}, expected ${known.join(" or ")}`;
      throw new Error(`preprocessing.json: ${message}: get newer examples`);
    }
  }
}

function overWhite({ width, height, data }) {
  const over = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    const alpha = data[from + 3];
    for (let channel = 0; channel < 3; channel++) {
      const level = data[from + channel];
      over[to++] = alpha === 255 ? level : Math.round((level * alpha + 255 * (255 - alpha)) / 255);
    }
  }
  return { width, height, data: over };
}

function middleSquare({ width, height, data }) {
  const side = Math.min(width, height);
  const [top, left] = [Math.floor((height - side) / 2), Math.floor((width - side) / 2)];
  const square = new Uint8Array(side * side * 3);
  for (let row = 0; row < side; row++) {
    const from = ((top + row) * width + left) * 3;
    square.set(data.subarray(from, from + side * 3), row * side * 3);
  }
  return { width: side, height: side, data: square };
}

const resizes = { area, linear };
const HOW = Object.keys(resizes);
const IN_8_BITS = { shrink: HOW, enlarge: HOW, computed_in: ["uint8"] };
const IN_FLOAT32 = { shrink: ["linear"], enlarge: ["linear"], computed_in: ["float32"] };

/** Resize a picture: {width, height, data}, RGB -> the same of a step's `size`, [height, width]. */
export function resize(picture, { size: [height, width], shrink, enlarge, floor_after_adding }) {
  if (picture.width === width && picture.height === height) return picture;
  if (floor_after_adding) return linearByLevels(picture, width, height, floor_after_adding);
  const how = picture.height > height ? shrink : enlarge;
  const twice = picture.width === 2 * width && picture.height === 2 * height;
  return resizes[twice ? "area" : how](picture, width, height); // OpenCV takes the area for half the size, too
}

function halfToEven(x) {
  const down = Math.floor(x);
  return x - down === 0.5 ? down + (down % 2) : Math.round(x);
}

/** The mean of the area that each new pixel covers; sums in float32, as OpenCV's. */
function area(picture, width, height) {
  const [across, down] = [picture.width / width, picture.height / height];
  if (Number.isInteger(across) && Number.isInteger(down)) {
    return areaOfWholePixels(picture, width, height, across, down);
  }
  const columns = shares(picture.width, width);
  const line = new Float32Array(width * 3);
  const sums = new Float32Array(width * height * 3);
  for (const row of shares(picture.height, height)) {
    line.fill(0);
    for (const column of columns) {
      const from = (row.from * picture.width + column.from) * 3;
      for (let channel = 0; channel < 3; channel++) {
        line[column.to * 3 + channel] += Math.fround(picture.data[from + channel] * column.share);
      }
    }
    const to = row.to * line.length;
    for (let i = 0; i < line.length; i++) sums[to + i] += Math.fround(row.share * line[i]);
  }
  return { width, height, data: Uint8Array.from(sums, halfToEven) };
}

/** Which of `from` old pixels in a row each of `to` new ones covers, and its share of each: [{from, to, share}]. */
function shares(from, to) {
  const scale = 1 / (to / from);
  const found = [];
  for (let i = 0; i < to; i++) {
    const [start, end] = [i * scale, i * scale + scale];
    const covered = Math.min(scale, from - start);
    const last = Math.min(Math.floor(end), from - 1);
    const first = Math.min(Math.ceil(start), last);
    const add = (pixel, part) => found.push({ from: pixel, to: i, share: Math.fround(part / covered) });
    if (first - start > 1e-3) add(first - 1, first - start);
    for (let pixel = first; pixel < last; pixel++) add(pixel, 1);
    if (end - last > 1e-3) add(last, Math.min(end - last, 1, covered));
  }
  return found;
}

function areaOfWholePixels(picture, width, height, across, down) {
  const result = new Uint8Array(width * height * 3);
  const share = Math.fround(1 / (across * down));
  for (let i = 0; i < result.length; i++) {
    const [channel, x, y] = [i % 3, Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    let sum = 0;
    for (let row = y * down; row < (y + 1) * down; row++) {
      for (let column = x * across; column < (x + 1) * across; column++) {
        sum += picture.data[(row * picture.width + column) * 3 + channel];
      }
    }
    result[i] = across === 2 && down === 2 ? (sum + 2) >> 2 : halfToEven(Math.fround(sum * share));
  }
  return { width, height, data: result };
}

/** Of each of `to` new pixels in a row the neighbors among `from` old ones: [first, second, weight of the second]. */
function neighbors(from, to) {
  const scale = 1 / (to / from);
  const inside = (index) => Math.min(Math.max(index, 0), from - 1);
  return Array.from({ length: to }, (_, i) => {
    const place = Math.fround((i + 0.5) * scale - 0.5); // pixels have their middles at halves
    const first = Math.floor(place);
    return [inside(first), inside(first + 1), Math.fround(place - first)];
  });
}

/** Between the four nearest pixels; weights of 11 bits and whole numbers, as OpenCV's. */
function linear(picture, width, height) {
  const bits = (weight) => halfToEven(Math.fround(weight * 2048));
  const weighted = ([first, second, weight]) => [first, second, bits(Math.fround(1 - weight)), bits(weight)];
  const columns = neighbors(picture.width, width).map(weighted);
  const rows = neighbors(picture.height, height).map(weighted);
  return interpolated(picture, columns, rows, (above, below, a, b) => {
    return (((a * (above >> 4)) >> 16) + ((b * (below >> 4)) >> 16) + 2) >> 2;
  });
}

/** The same from exact weights; a number is added to each level, and what is behind the point dropped. */
function linearByLevels(picture, width, height, added) {
  const weighted = ([first, second, weight]) => [first, second, 1 - weight, weight];
  const columns = neighbors(picture.width, width).map(weighted);
  const rows = neighbors(picture.height, height).map(weighted);
  return interpolated(picture, columns, rows, (above, below, a, b) => Math.floor(a * above + b * below + added));
}

function interpolated({ width, data }, columns, rows, between) {
  const result = new Uint8Array(rows.length * columns.length * 3);
  let to = 0;
  for (const [top, bottom, a, b] of rows) {
    for (const [left, right, c, d] of columns) {
      for (let channel = 0; channel < 3; channel++) {
        const row = (y) => data[(y * width + left) * 3 + channel] * c + data[(y * width + right) * 3 + channel] * d;
        result[to++] = between(row(top), row(bottom), a, b);
      }
    }
  }
  return { width: columns.length, height: rows.length, data: result };
}

function planes({ width, height, data }) {
  const pixels = width * height;
  return Float64Array.from(data, (_, i) => data[(i % pixels) * 3 + Math.floor(i / pixels)]);
}

function softmax(logits, temperature) {
  const largest = logits.reduce((a, b) => Math.max(a, b));
  const powers = Array.from(logits, (logit) => Math.exp((logit - largest) / temperature));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}
