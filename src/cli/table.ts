/** Tables of plain text. */

/** A column: its title, and where its cells stand. */
export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
}

// What colours a cell takes no room on the screen.
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

function widthOf(cell: string): number {
  return [...cell.replace(COLOURS, "")].length;
}

/** A text in one line of so many characters at most. */
export function cut(text: string, most: number): string {
  const line = text.replace(/\s+/g, " ");
  return line.length <= most ? line : `${line.slice(0, Math.max(0, most - 1))}…`;
}
