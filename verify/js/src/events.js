/** Bounds a line, and the data of an event, in characters. */
export const maxLine = 64 << 10;

/**
 * Reads a text/event-stream as the HTML standard has it, section 9.2.6: a byte order mark first, lines that end with
 * LF, CR or CRLF, also where a proxy cuts between the two.
 */
export class EventReader {
  /**
   * @param {(kind: string, data: string) => void} handle
   * @param {() => void} [alive] is told of every line
   */
  constructor(handle, alive = () => {}) {
    this.handle = handle;
    this.alive = alive;
    this.decoder = new TextDecoder();
    this.rest = ''; // of the last line, while its end has not come
    this.afterCR = false; // an LF that comes now belongs to the CR before it
    this.kind = '';
    /** @type {string[]} */
    this.data = [];
    this.size = 0; // of data
  }

  /** @param {Uint8Array} bytes */
  push(bytes) {
    const text = this.decoder.decode(bytes, {stream: true});
    if (text === '') return;
    let at = this.afterCR && text[0] === '\n' ? 1 : 0;
    this.afterCR = false;
    let cr = text.indexOf('\r', at);
    for (;;) {
      const lf = text.indexOf('\n', at);
      if (cr !== -1 && cr < at) cr = text.indexOf('\r', at);
      if (lf === -1 && cr === -1) break;
      const byCR = cr !== -1 && (lf === -1 || cr < lf);
      const end = byCR ? cr : lf;
      const line = this.rest + text.slice(at, end);
      this.rest = '';
      at = end + 1;
      if (byCR && at === text.length) this.afterCR = true;
      if (byCR && lf === at) at++;
      this.line(line);
    }
    this.rest += text.slice(at);
    if (this.rest.length > maxLine) throw new Error('the stream sends a line that is too long');
  }

  /** @param {string} line */
  line(line) {
    if (line.length > maxLine) throw new Error('the stream sends a line that is too long');
    this.alive();
    if (line === '') {
      const {kind, data} = this;
      this.kind = '';
      this.data = [];
      this.size = 0;
      if (data.length > 0) this.handle(kind, data.join('\n'));
      return;
    }
    const colon = line.indexOf(':');
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (name === 'event') {
      this.kind = value;
    } else if (name === 'data') {
      // the id is in it too
      this.size += value.length + 1;
      if (this.size > maxLine) throw new Error('the stream sends an event that is too large');
      this.data.push(value);
    }
  }
}
