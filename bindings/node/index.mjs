import lever from './index.js';

export const {
  Client,
  Service,
  serve,
  context,
  LeverError,
  MethodError,
  Moved,
  Timestamp,
  Ext,
  version,
} = lever;
export default lever;
