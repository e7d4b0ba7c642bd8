/** One tab stop for a grid of links: arrows, Home and End move between its cells. */

/** @param {HTMLTableElement} table whose cells have links with tabindex -1 */
export function navigate(table) {
  const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].slice(1).map((cell) => cell.querySelector("a")));
  const links = rows.flat().filter(Boolean);
  if (!links.length) return;
  const start = table.querySelector("a[aria-current]") ?? links[0];
  start.tabIndex = 0;
  table.addEventListener("focusin", ({ target }) => {
    if (!links.includes(target)) return;
    for (const link of links) link.tabIndex = link === target ? 0 : -1;
  });
  table.addEventListener("keydown", (event) => {
    const row = rows.findIndex((cells) => cells.includes(event.target));
    if (row < 0) return;
    const column = rows[row].indexOf(event.target);
    const next = {
      ArrowLeft: () => seek(row, column, 0, -1), ArrowRight: () => seek(row, column, 0, 1),
      ArrowUp: () => seek(row, column, -1, 0), ArrowDown: () => seek(row, column, 1, 0),
      Home: () => rows[row].find(Boolean), End: () => rows[row].findLast(Boolean),
    }[event.key]?.();
    if (!next) return;
    event.preventDefault();
    next.focus();
  });

  /** Return the next cell with a link in a direction; empty cells are passed over. */
  function seek(row, column, down, right) {
    for (let r = row + down, c = column + right; rows[r] && c >= 0 && c < rows[r].length; r += down, c += right) {
      if (rows[r][c]) return rows[r][c];
    }
    return null;
  }
}
