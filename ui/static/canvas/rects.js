// Rectangles {left, top, width, height} in whole pixels; null is the empty one.

export function rect(left, top, right, bottom) {
  return right > left && bottom > top ? { left, top, width: right - left, height: bottom - top } : null;
}

export const right = (one) => one.left + one.width;
export const bottom = (one) => one.top + one.height;

export function union(one, other) {
  if (!one || !other) return one ?? other;
  const [left, top] = [Math.min(one.left, other.left), Math.min(one.top, other.top)];
  return rect(left, top, Math.max(right(one), right(other)), Math.max(bottom(one), bottom(other)));
}

export function intersection(one, other) {
  if (!one || !other) return null;
  const [left, top] = [Math.max(one.left, other.left), Math.max(one.top, other.top)];
  return rect(left, top, Math.min(right(one), right(other)), Math.min(bottom(one), bottom(other)));
}

export function grown(one, by) {
  return one && rect(one.left - by, one.top - by, right(one) + by, bottom(one) + by);
}

export function same(one, other) {
  if (!one || !other) return one === other;
  return ["left", "top", "width", "height"].every((name) => one[name] === other[name]);
}
