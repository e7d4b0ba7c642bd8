/** Fetch the page again, and replace those of its parts that have changed. */

const PAUSE_MILLISECONDS = 1000;

/**
 * Return a function that replaces the parts of the page with those of now: at most once a second, and once more if it
 * is called meanwhile. What has the keyboard's focus keeps it.
 * @param {string[]} selectors
 * @param {(part: Element) => void} [afterwards] is called with each part that was replaced
 */
export function refreshParts(selectors, afterwards = () => {}) {
  let running = null, isAskedAgain = false;
  const once = async () => {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const selector of selectors) {
      const old = document.querySelector(selector), now = page.querySelector(selector);
      if (!old || !now) continue;
      afterwards(now);
      if (old.isEqualNode(now)) continue;
      const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      old.replaceWith(now);
      if (focused) now.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
    }
    await new Promise((done) => setTimeout(done, PAUSE_MILLISECONDS));
  };
  return function refresh() {
    if (running) {
      isAskedAgain = true;
      return running;
    }
    running = once().finally(() => {
      running = null;
      if (isAskedAgain) {
        isAskedAgain = false;
        refresh().catch(() => {});
      }
    });
    return running;
  };
}

/**
 * Return handlers for the stream of all jobs that call `refresh` when a job begins, ends or moves in the queue, but not
 * for each step of its progress. `step` is called for those.
 * @param {() => Promise<void>} refresh
 * @param {(job: any) => void} [step]
 */
export function onMoves(refresh, step = () => {}) {
  const known = new Map();
  let isFirst = true;
  const remember = (job) => {
    const now = `${job.status} ${job.place}`, isNew = known.get(job.id) !== now;
    known.set(job.id, now);
    return isNew;
  };
  return {
    jobs({ jobs }) {
      jobs.forEach(remember);
      if (!isFirst) refresh(); // after a pause anything can have happened
      isFirst = false;
      jobs.forEach(step);
    },
    job(job) {
      if (remember(job)) refresh();
      else step(job);
    },
    queue: () => refresh(),
  };
}
