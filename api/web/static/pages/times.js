/** A page that only shows: its times are those of the reader's clock. */
import "../answers.js";
