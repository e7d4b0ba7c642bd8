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
      ArrowLeft: () => rows[row].slice(0, column).findLast(Boolean), ArrowRight: () => rows[row].slice(column + 1).find(Boolean),
      ArrowUp: () => seek(rows.slice(0, row).reverse(), column), ArrowDown: () => seek(rows.slice(row + 1), column),
      Home: () => rows[row].find(Boolean), End: () => rows[row].findLast(Boolean),
    }[event.key]?.();
    if (!next) return;
    event.preventDefault();
    next.focus();
  });

  /** Return the cell nearest to a column, of the first row that has one. */
  function seek(others, column) {
    for (const cells of others) {
      const places = [...cells.keys()].filter((place) => cells[place]);
      places.sort((one, other) => Math.abs(one - column) - Math.abs(other - column));
      if (places.length) return cells[places[0]];
    }
    return null;
  }
}
