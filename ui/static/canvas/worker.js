// The worker of offthread.js.

import { feather, grow, shrink } from "./morphology.js";

const through = (make) => async (bytes) => {
  const piped = new Blob([bytes]).stream().pipeThrough(make());
  return new Uint8Array(await new Response(piped).arrayBuffer());
};

const WAYS = {
  pack: through(() => new CompressionStream("deflate-raw")),
  unpack: through(() => new DecompressionStream("deflate-raw")),
  zlib: through(() => new CompressionStream("deflate")),
  grow,
  shrink,
  feather,
};

addEventListener("message", async ({ data: { asked, how, bytes, more } }) => {
  try {
    const out = await WAYS[how](bytes, ...more);
    postMessage({ asked, bytes: out }, [out.buffer]);
  } catch (error) {
    postMessage({ asked, fault: String(error) });
  }
});
