// For `import`; what there is is described in index.d.ts.

import * as lever from './index.js';

export * from './index.js';
export default lever;
