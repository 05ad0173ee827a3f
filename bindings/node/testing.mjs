import testing from './testing.js';

export const { start } = testing;
export default testing;
