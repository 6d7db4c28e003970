// Numbers of OpenFlow 1.3 (specification 1.3.5, openflow.h of its appendix) and of ONF extension 230, bundles for 1.3.

/** OFP_VERSION of 1.3. */
export const openflowVersion = 0x04;

/** ofp_header: version u8, type u8, length u16, xid u32. */
export const headerLength = 8;

/** enum ofp_type. */
export const messageType = {
  hello: 0,
  error: 1,
  echoRequest: 2,
  echoReply: 3,
  experimenter: 4,
  featuresRequest: 5,
  featuresReply: 6,
  setConfig: 9,
  flowRemoved: 11,
  portStatus: 12,
  flowMod: 14,
  multipartRequest: 18,
  multipartReply: 19,
  barrierRequest: 20,
  barrierReply: 21,
  setAsync: 28,
} as const;

/** enum ofp_multipart_type. */
export const multipartType = {
  description: 0,
  flow: 1,
  aggregate: 2,
  portStatistics: 4,
  portDescription: 13,
} as const;

/** OFPMPF_REPLY_MORE, the same bit in requests. */
export const multipartMore = 1;

/** enum ofp_flow_mod_command. */
export const flowModCommand = {
  add: 0,
  modify: 1,
  modifyStrict: 2,
  delete: 3,
  deleteStrict: 4,
} as const;

/** enum ofp_flow_mod_flags. */
export const flowModFlag = { sendFlowRemoved: 1, checkOverlap: 2, resetCounts: 4 } as const;

/** enum ofp_port_no: the reserved ports, and the largest number that a real port may have. */
export const port = {
  max: 0xffffff00,
  inPort: 0xfffffff8,
  table: 0xfffffff9,
  normal: 0xfffffffa,
  flood: 0xfffffffb,
  all: 0xfffffffc,
  controller: 0xfffffffd,
  local: 0xfffffffe,
  any: 0xffffffff,
} as const;

/** OFPG_ANY. */
export const groupAny = 0xffffffff;
/** OFPTT_ALL: every table, in delete commands and statistics requests. */
export const tableAll = 0xff;
/** OFP_NO_BUFFER. */
export const noBuffer = 0xffffffff;
/** OFPHET_VERSIONBITMAP. */
export const helloVersionBitmap = 1;

/** enum ofp_port_reason, by number. */
export const portReasons = ['added', 'deleted', 'modified'] as const;
/** enum ofp_flow_removed_reason, by number. */
export const flowRemovedReasons = [
  'idleTimeout',
  'hardTimeout',
  'deleted',
  'groupDeleted',
] as const;

/** OFPPC_PORT_DOWN of enum ofp_port_config; OFPPS_LINK_DOWN of enum ofp_port_state. */
export const portDown = 1;
export const linkDown = 1;

/** ONF_VENDOR_ID and the experimenter types of extension 230. */
export const onfExperimenter = 0x4f4e4600;
export const bundleControlType = 2300;
export const bundleAddType = 2301;

/** enum onf_bundle_ctrl_type. */
export const bundleControl = {
  openRequest: 0,
  openReply: 1,
  closeRequest: 2,
  closeReply: 3,
  commitRequest: 4,
  commitReply: 5,
  discardRequest: 6,
  discardReply: 7,
} as const;

/** enum onf_bundle_flags. */
export const bundleFlag = { atomic: 1, ordered: 2 } as const;

/** OFPET_EXPERIMENTER. */
export const experimenterErrorType = 0xffff;
