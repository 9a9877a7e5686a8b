// The worker of offthread.js.

import { feather, grow, shrink } from "./morphology.js";

const through = (make) => async (bytes) => {
  const piped = new Blob([bytes]).stream().pipeThrough(make());
  return new Uint8Array(await new Response(piped).arrayBuffer());
};

const streams = new Map(); // number -> {writer, pieces, done}

function streamOf(number) {
  if (!streams.has(number)) {
    const { writable, readable } = new CompressionStream("deflate");
    const stream = { writer: writable.getWriter(), pieces: [] };
    const read = async () => {
      for await (const piece of pieces(readable.getReader())) stream.pieces.push(piece);
    };
    stream.done = read();
    streams.set(number, stream);
  }
  return streams.get(number);
}

async function* pieces(reader) {
  for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) yield value;
}

/** What a stream has ready, which it forgets. */
async function ready(stream) {
  return new Uint8Array(await new Blob(stream.pieces.splice(0)).arrayBuffer());
}

async function zlibPart(bytes, number) {
  const stream = streamOf(number);
  await stream.writer.write(bytes);
  return ready(stream);
}

async function zlibEnd(_, number) {
  const stream = streamOf(number);
  streams.delete(number);
  await stream.writer.close();
  await stream.done;
  return ready(stream);
}

const WAYS = {
  pack: through(() => new CompressionStream("deflate-raw")),
  unpack: through(() => new DecompressionStream("deflate-raw")),
  zlibPart,
  zlibEnd,
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
