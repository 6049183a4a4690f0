UPDATE c SET l1 = '“”‰', u16 = '𝄞 x', sj = 'ﾊﾝｶｸ', bin = x'00', e = 'café', s = 'ü' WHERE id = 2;
UPDATE c SET l2 = 'ąą', gb = '龙' WHERE id = 1;
