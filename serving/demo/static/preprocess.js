// A drawing as MNIST has its digits: fitted into 20 x 20 pixels, its centre of mass in the
// middle of 28 x 28. Pure functions of arrays; nothing of the page.

export const SIDE = 28;
const BOX = 20;

/**
 * @param {ArrayLike<number>} ink 0 (paper) to 255 (ink), row-major, height x width
 * @returns {Uint8Array | null} SIDE x SIDE pixels, row-major, 0 to 255; null for empty paper
 */
export function mnistPixels(ink, width, height) {
  const box = bounds(ink, width, height);
  if (!box) return null;
  const scale = Math.max(box.right - box.left, box.bottom - box.top) / BOX;
  const columns = cells(box.left, box.right, scale);
  const rows = cells(box.top, box.bottom, scale);
  const small = average(ink, width, rows, columns, scale);
  const [across, down] = shift(small, rows.length, columns.length);
  const pixels = new Uint8Array(SIDE * SIDE);
  for (let i = 0; i < rows.length; i++)
    for (let j = 0; j < columns.length; j++)
      pixels[(i + down) * SIDE + j + across] = Math.round(small[i * columns.length + j]);
  return pixels;
}

function bounds(ink, width, height) {
  let left = width, right = 0, top = height, bottom = 0;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      if (ink[y * width + x] > 0) {
        left = Math.min(left, x);
        right = Math.max(right, x + 1);
        top = Math.min(top, y);
        bottom = y + 1;
      }
  return right > left ? { left, right, top, bottom } : null;
}

// For each small pixel along one axis: the pixels of the drawing under it, [index, overlap].
function cells(first, end, scale) {
  const count = Math.ceil((end - first) / scale - 1e-9);
  return Array.from({ length: count }, (_, cell) => {
    const from = first + cell * scale, to = Math.min(from + scale, end);
    const covered = [];
    for (let i = Math.floor(from); i < to; i++) {
      const overlap = Math.min(i + 1, to) - Math.max(i, from);
      if (overlap > 0) covered.push([i, overlap]);
    }
    return covered;
  });
}

// The mean of the ink under each small pixel, exactly: that is the anti-aliasing.
function average(ink, width, rows, columns, scale) {
  const means = new Float64Array(rows.length * columns.length);
  rows.forEach((ys, i) => columns.forEach((xs, j) => {
    let sum = 0;
    for (const [y, tall] of ys) for (const [x, wide] of xs) sum += tall * wide * ink[y * width + x];
    means[i * columns.length + j] = sum / (scale * scale);
  }));
  return means;
}

// Whole pixels to the right and down that bring the centre of mass to pixel 14, as near as it goes.
function shift(small, height, width) {
  let mass = 0, x = 0, y = 0;
  for (let i = 0; i < height; i++)
    for (let j = 0; j < width; j++) {
      const ink = small[i * width + j];
      mass += ink;
      x += ink * j;
      y += ink * i;
    }
  const within = (move, size) => Math.min(Math.max(move, 0), SIDE - size);
  return [
    within(SIDE / 2 - Math.round(x / mass), width),
    within(SIDE / 2 - Math.round(y / mass), height),
  ];
}
