/** Formats tables of plain text. */

/** A column: its title and alignment. */
export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
  /** Columns with the highest number are left out first if the table is too wide. Default: never left out. */
  readonly spare?: number;
  /** Colours the cells of the last column, after they have been shortened. */
  readonly paint?: (text: string) => string;
}

// Escape sequences of colours do not count as characters.
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is what a colour begins with
const COLOURS = /\u001b\[\d+m/g;

/** Returns lines in which each column is as wide as its widest cell. The last column is not padded. */
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

/** Smallest and largest width of the last column. */
const LEAST_LAST = 16;
const MOST_LAST = 60;

/**
 * Formats a table like {@link tableOf}, in lines of at most `width` characters if possible: columns with `spare` are left out,
 * and the last column is shortened.
 *
 * @returns the lines, and the titles of the columns that were left out.
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

/** Shortens a text to one line of at most `most` characters. */
export function cut(text: string, most: number): string {
  const line = text.replace(/\s+/g, " ");
  return line.length <= most ? line : `${line.slice(0, Math.max(0, most - 1))}…`;
}
