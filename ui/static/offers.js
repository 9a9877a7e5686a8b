// Results come back over the canvas that they were asked from, each of them once. Which ones a painting asked for and
// which it was offered is kept with it: after a reload, or a crash, those that nobody has seen are offered.

import { canvasOf } from "./canvas/canvas.js";
import { originOf } from "./origins.js";
import { studio } from "./studio.js";

const TABS = ["img2img", "inpaint"];
const MOST_ADDRESSES = 400;
const MOST_PICTURES = 4; // that a painting remembers to have asked with
const NOTHING = { asked: [], offered: [] };

/** Something is asked for with this picture: what comes of it from now on belongs to the canvas. */
export function expect(canvas, picture) {
  const { asked, offered } = canvas.memory ?? NOTHING;
  if (asked.some((one) => one.picture === picture)) return;
  const before = studio.jobs.map(({ id }) => id); // these are not meant
  canvas.remember({ asked: [...asked, { picture, before }].slice(-MOST_PICTURES), offered });
}

/** What a painting has asked for and was not offered yet: of jobs whose origin is known by now. */
function fresh(tab, { asked, offered }) {
  const meant = ({ id }) => {
    const origin = originOf(id);
    const how = origin?.tab === tab && asked.find(({ picture }) => picture === origin.pictures[0]);
    return how && !how.before.includes(id);
  };
  const known = new Set(offered);
  return studio.jobs.filter(meant).flatMap(({ id }) => studio.pictures(id)).filter(({ url }) => !known.has(url));
}

async function offer(tab) {
  const canvas = await canvasOf(tab);
  if (!fresh(tab, canvas.memory ?? NOTHING).length) return;
  const { picture } = canvas.state.hasPicture ? await canvas.commit() : {};
  const { asked, offered } = canvas.memory; // the newest: it may have asked for more meanwhile
  const pictures = fresh(tab, canvas.memory);
  canvas.remember({ asked, offered: [...offered, ...pictures.map(({ url }) => url)].slice(-MOST_ADDRESSES) });
  const fitting = pictures.filter(({ job }) => originOf(job).pictures[0] === picture);
  if (!fitting.length) return; // another picture lies there by now
  const more = fitting.map(({ url, job, width, height }) => ({ url, width, height, ...placeOf(job) }));
  await canvas.propose([...canvas.proposals, ...more]);
}

const placeOf = (job) => originOf(job).place ?? { left: 0, top: 0, resized: true };

/** One after the other for each tab; what changes meanwhile is looked at afterwards. */
function watch(tab) {
  let looking = false;
  let again = false;
  const look = async () => {
    again = looking;
    if (looking) return;
    looking = true;
    await offer(tab).catch(({ message }) => studio.dispatchEvent(new CustomEvent("problem", { detail: message })));
    looking = false;
    if (again) look();
  };
  studio.addEventListener("change", () => studio.told && look());
}

TABS.forEach(watch);
