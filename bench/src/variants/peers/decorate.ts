/** Nest's decorators without the build step that their syntax needs. */

import type { Type } from "@nestjs/common";

/** As if `decorator` stood above that method. */
export function decorateMethod(decorator: MethodDecorator, { prototype }: Type, method: string): void {
  const descriptor = Object.getOwnPropertyDescriptor(prototype, method);
  if (descriptor === undefined) throw new Error(`There is no method ${method}.`);
  decorator(prototype, method, descriptor);
}
