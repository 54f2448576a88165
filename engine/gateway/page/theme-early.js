// Before the first paint, so that a light screen never flashes dark; a module would run too late.
;(() => {
  let kept = null
  try {
    kept = localStorage.getItem('marketprism.theme')
  } catch {
    // storage is switched off: the system decides
  }
  if (kept === 'light' || kept === 'dark') document.documentElement.dataset.theme = kept
})()
