// The label stack of a path without MPLS: VPP's API has sixteen entries, whatever their number.

export const noLabels = Array.from({ length: 16 }, () => ({
  is_uniform: 0,
  label: 0,
  ttl: 0,
  exp: 0,
}));
