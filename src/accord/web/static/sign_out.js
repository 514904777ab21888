// The button in the page's head.

import { send } from "./server.js";

document.getElementById("sign-out").addEventListener("click", async () => {
  await send("POST", "/sign-out");
  location.assign("/sign-in");
});
