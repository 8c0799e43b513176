// Loads the worker of the page that may connect to other places. It has a file of its own because a worker obeys
// the content security policy that its own script is served with.
import "./worker_start.js";
