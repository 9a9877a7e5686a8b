// The browser's database: paintings, with their tiles, pictures and steps.

const NAME = "atelier-canvas";
const VERSION = 1;

const settled = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

const written = (transaction) =>
  new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onabort = () => reject(transaction.error);
  });

const all = (...key) => IDBKeyRange.bound(key, [...key, []]); // an array is above every number and text

export class Store {
  #database;

  constructor(database) {
    this.#database = database;
  }

  static async open() {
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      const database = request.result;
      database.createObjectStore("paintings").createIndex("names", ["name", "at"]);
      for (const name of ["tiles", "pictures", "steps"]) database.createObjectStore(name);
    };
    return new Store(await settled(request));
  }

  /** What was kept of painting `id`: {record, picture, tiles: [[layer, key, packed]]}, or null. */
  async read(id) {
    const reading = this.#database.transaction(["paintings", "tiles", "pictures"]);
    const tiles = reading.objectStore("tiles");
    const [record, picture, keys, values] = await Promise.all([
      settled(reading.objectStore("paintings").get(id)),
      settled(reading.objectStore("pictures").get(id)),
      settled(tiles.getAllKeys(all(id))),
      settled(tiles.getAll(all(id))),
    ]);
    if (!record) return null;
    return { record, picture: picture ?? null, tiles: keys.map(([, layer, key], k) => [layer, key, values[k]]) };
  }

  /** The numbers of the steps that are there. */
  async steps(id) {
    const keys = await settled(this.#database.transaction("steps").objectStore("steps").getAllKeys(all(id)));
    return new Set(keys.map(([, n]) => n));
  }

  async has(id) {
    return (await settled(this.#database.transaction("paintings").objectStore("paintings").count(id))) > 0;
  }

  step(id, n) {
    return settled(this.#database.transaction("steps").objectStore("steps").get([id, n]));
  }

  /**
   * Everything at once or nothing. `tiles` are [[layer, key, packed or null]], `picture` is undefined where it is the
   * same, and `steps` take the place of all from number `from` on.
   */
  async write(id, { record, tiles, picture, steps, from }) {
    const writing = this.#database.transaction(["paintings", "tiles", "pictures", "steps"], "readwrite");
    const done = written(writing);
    writing.objectStore("paintings").put(record, id);
    for (const [layer, key, packed] of tiles) {
      if (packed) writing.objectStore("tiles").put(packed, [id, layer, key]);
      else writing.objectStore("tiles").delete([id, layer, key]);
    }
    if (picture) writing.objectStore("pictures").put(picture, id);
    else if (picture === null) writing.objectStore("pictures").delete(id);
    if (steps.length || from < record.steps) {
      writing.objectStore("steps").delete(IDBKeyRange.bound([id, from], [id, []]));
      steps.forEach((step, k) => step && writing.objectStore("steps").put(step, [id, from + k]));
    }
    writing.commit(); // at once: the page may be about to go
    await done;
  }

  /** The paintings of that name, the newest first. */
  async ids(name) {
    const index = this.#database.transaction("paintings").objectStore("paintings").index("names");
    return (await settled(index.getAllKeys(all(name)))).reverse();
  }

  async forget(id) {
    const writing = this.#database.transaction(["paintings", "tiles", "pictures", "steps"], "readwrite");
    for (const name of ["paintings", "pictures"]) writing.objectStore(name).delete(id);
    for (const name of ["tiles", "steps"]) writing.objectStore(name).delete(all(id));
    await written(writing);
  }

  close() {
    this.#database.close();
  }
}
