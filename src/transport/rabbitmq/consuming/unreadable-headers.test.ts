import { expect, it } from "vitest";
import { readUnreadableHeadersAsNone } from "./unreadable-headers.ts";

/** As amqplib's connection, with a decoder that takes empty header tables only. */
class FrameReader {
  rest: Buffer;

  constructor(...frames: readonly Buffer[]) {
    this.rest = Buffer.concat(frames);
  }

  recvFrame(): string | undefined {
    if (this.rest.length === 0) return undefined;
    const end = 7 + this.rest.readUInt32BE(3);
    const text = this.rest.toString("latin1", 7, end);
    this.rest = this.rest.subarray(end + 1);
    if (text.includes("deep")) throw new RangeError("too deep");
    return text;
  }
}

function frame(type: number, payload: string): Buffer {
  const start = Buffer.from([type, 0, 1, 0, 0, 0, payload.length]);
  return Buffer.concat([start, Buffer.from(`${payload}\xce`, "latin1")]);
}

// Class, weight and body size; then flags and properties.
const content = (flags: string, properties: string): string =>
  `\0\x3c\0\0${"\0".repeat(8)}${flags}${properties}`;

it("a frame whose headers cannot be decoded comes without them, and what follows as it is", () => {
  const unreadable = content("\xe0\x08", "\x02ct\x02ce\0\0\0\x04deep\x01u");
  const receiver = new FrameReader(
    frame(2, unreadable),
    frame(2, content("\x20\0", "\0\0\0\x04deep")),
    frame(3, "body"),
  );
  readUnreadableHeadersAsNone(receiver);
  expect(receiver.recvFrame()).toBe(content("\xe0\x08", "\x02ct\x02ce\0\0\0\0\x01u"));
  expect(receiver.recvFrame()).toBe(content("\x20\0", "\0\0\0\0"));
  expect(receiver.recvFrame()).toBe("body");
  expect(receiver.recvFrame()).toBeUndefined();
});

it("a frame that cannot be decoded for another reason fails as before", () => {
  for (const bad of [frame(1, "deep"), frame(2, content("\x80\0", "\x04deep"))]) {
    const receiver = new FrameReader(bad);
    readUnreadableHeadersAsNone(receiver);
    expect(() => receiver.recvFrame()).toThrow("too deep");
  }
});
