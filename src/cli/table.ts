/** Tables of plain text. */

/** A column: its title, and where its cells stand. */
export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
  /** Left out where there is no room for all: the highest first. Default: never. */
  readonly spare?: number;
  /** How the cells of the last column are coloured, once they are as short as they have to be. */
  readonly paint?: (text: string) => string;
}

// Colours take no room on the screen.
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is what a colour begins with
const COLOURS = /\u001b\[\d+m/g;

/** Lines with columns as wide as their widest cell. The last column of a line is not filled up. */
export function tableOf(columns: readonly Column[], rows: readonly (readonly string[])[]): readonly string[] {
  const all = [columns.map(({ title }) => title), ...rows];
  const widths = columns.map((_, at) => Math.max(...all.map((row) => widthOf(row[at] ?? ""))));
  return all.map((row) =>
    columns
      .map(({ align = "left" }, at) => {
        const cell = row[at] ?? "";
        const filling = " ".repeat((widths[at] ?? 0) - widthOf(cell));
        return align === "right" ? filling + cell : cell + filling;
      })
      .join("  ")
      .trimEnd(),
  );
}

/** The last column is worth that much room, or none. */
const LEAST_LAST = 16;
const MOST_LAST = 60;

/**
 * As {@link tableOf}, in lines of so many characters at most, as far as that is possible: columns are left out that can be
 * spared, and the last is cut.
 *
 * @returns the lines, and the titles of what was left out.
 */
export function fittedTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number | undefined,
): { readonly lines: readonly string[]; readonly leftOut: readonly string[] } {
  const widths = columns.map(({ title }, at) =>
    Math.max(...[title, ...rows.map((row) => row[at] ?? "")].map(widthOf)),
  );
  const last = columns.length - 1;
  const left = new Set(columns.map((_, at) => at));
  const needed = (lastWidth: number): number =>
    [...left].reduce((sum, at) => sum + (at === last ? lastWidth : (widths[at] as number)) + 2, -2);
  const room = width ?? Number.POSITIVE_INFINITY;
  const spare = [...left].filter((at) => columns[at]?.spare !== undefined);
  spare.sort((a, b) => (columns[b]?.spare ?? 0) - (columns[a]?.spare ?? 0));
  const leftOut: number[] = [];
  for (const at of spare) {
    if (needed(Math.min(LEAST_LAST, widths[last] as number)) <= room) break;
    left.delete(at);
    leftOut.push(at);
  }
  const most = Math.max(LEAST_LAST, Math.min(MOST_LAST, room - needed(0)));
  const paint = columns[last]?.paint ?? ((text: string) => text);
  const shown = [...left];
  const cellOf = (row: readonly string[], at: number): string => {
    const cell = row[at] ?? "";
    return at === last && cell !== "" ? paint(cut(cell, most)) : cell;
  };
  return {
    lines: tableOf(
      shown.map((at) => columns[at] as Column),
      rows.map((row) => shown.map((at) => cellOf(row, at))),
    ),
    leftOut: leftOut.sort((a, b) => a - b).map((at) => columns[at]?.title ?? ""),
  };
}

function widthOf(cell: string): number {
  return [...cell.replace(COLOURS, "")].length;
}

/** A text in one line of so many characters at most. */
export function cut(text: string, most: number): string {
  const line = text.replace(/\s+/g, " ");
  return line.length <= most ? line : `${line.slice(0, Math.max(0, most - 1))}…`;
}
