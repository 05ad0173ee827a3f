// For `import`; what there is is described in testing.d.ts.

import * as testing from './testing.js';

export * from './testing.js';
export default testing;
