// What this browser remembers of earlier visits, before the first thing is drawn: the theme, and that the first steps
// were read. Not a module, since those run after that.
try {
  const { dataset } = document.documentElement;
  const theme = localStorage.getItem("quantscope.theme");
  if (theme) dataset.theme = theme;
  if (localStorage.getItem("quantscope.guide-read")) dataset.guide = "read";
} catch {
  // A browser that keeps nothing.
}
