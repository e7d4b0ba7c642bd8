/** A user: its quotas, and what it has used. */

import { enableQuotas } from "../quotas.js";

const login = document.querySelector("h1").textContent;

enableQuotas(document.querySelector("[data-problem]"), `/api/v1/users/${encodeURIComponent(login)}/quotas`);
