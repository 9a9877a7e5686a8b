// One WebSocket to Atelier that comes back by itself.

const SHORTEST_WAIT = 400; // milliseconds before the first attempt to come back
const LONGEST_WAIT = 8000;
const SILENCE = 50000; // Atelier says something at least every 20 seconds
const LOOK = 5000; // milliseconds between two looks whether it has

/**
 * Emits "open", "closed", "message" (detail: the parsed JSON) and "preview" (detail: {job, picture: Blob}).
 * The protocol is described in backend/server/live.py.
 */
export class Channel extends EventTarget {
  #url;
  #socket = null;
  #wait = SHORTEST_WAIT;
  #timer = 0;
  #heard = 0;

  /** @param {string} path relative to the page, so that it works below a proxy's path too */
  constructor(path) {
    super();
    this.#url = new URL(path, document.baseURI);
    this.#url.protocol = this.#url.protocol === "https:" ? "wss:" : "ws:";
  }

  open() {
    this.#connect();
    // After sleep or a lost network a socket may look open, or be opening, for minutes; when the person comes back it is
    // looked at at once.
    setInterval(() => this.#socket.readyState <= WebSocket.OPEN && this.#silent && this.#connect(), LOOK);
    window.addEventListener("online", () => this.#connect());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && (!this.connected || this.#silent)) this.#connect();
    });
  }

  get connected() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  get #silent() {
    return Date.now() - this.#heard > SILENCE;
  }

  /** @returns {boolean} whether it was sent */
  send(order) {
    if (this.connected) this.#socket.send(JSON.stringify(order));
    return this.connected;
  }

  #connect() {
    clearTimeout(this.#timer);
    const old = this.#socket;
    const lost = this.connected;
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#heard = Date.now();
    old?.close();
    if (lost) this.#tell("closed"); // what it looked like: it is not heard any more
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#heard = Date.now();
      this.#tell("open");
    };
    socket.onmessage = (event) => {
      this.#heard = Date.now();
      const news = typeof event.data === "string" ? JSON.parse(event.data) : null;
      // A browser that is turned away opens its socket too: only what is no problem ends the growing waits.
      if (news?.type !== "problem") this.#wait = SHORTEST_WAIT;
      if (news) this.#tell("message", news);
      else this.#tell("preview", unpack(event.data));
    };
    socket.onclose = () => {
      if (socket !== this.#socket) return; // replaced by a newer one
      this.#tell("closed");
      this.#timer = setTimeout(() => this.#connect(), this.#wait);
      this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
    };
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** A preview is the job's id in 32 ASCII characters and then a JPEG. */
function unpack(data) {
  const job = new TextDecoder().decode(data.slice(0, 32));
  return { job, picture: new Blob([data.slice(32)], { type: "image/jpeg" }) };
}
