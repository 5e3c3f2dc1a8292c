import { expect, it, vi } from "vitest";
import { Gate } from "./gate.ts";

it("lets through who waits when it opens, and nobody who has left", () => {
  const gate = new Gate();
  const [stays, leaves, late] = [vi.fn(), vi.fn(), vi.fn()];
  gate.onOpen(stays);
  const leave = gate.onOpen(leaves);
  leave();
  leave();
  gate.open();
  gate.onOpen(late);
  expect(stays).toHaveBeenCalledTimes(1);
  expect(leaves).not.toHaveBeenCalled();
  expect(late).not.toHaveBeenCalled();
  gate.open();
  expect(stays).toHaveBeenCalledTimes(1);
  expect(late).toHaveBeenCalledTimes(1);
});
