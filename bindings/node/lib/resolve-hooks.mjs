// For launcher.js: `import 'lever'` in a bundle that has no such package.

let own;

export async function initialize(url) {
  own = url;
}

export async function resolve(specifier, context, nextResolve) {
  if (specifier !== 'lever') return nextResolve(specifier, context);
  try {
    return await nextResolve(specifier, context);
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    return nextResolve(own, context);
  }
}
